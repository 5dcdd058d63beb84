"""Translates MIT's temporal-shift-module and tsn-pytorch, its base; the original project has the same names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify_image import (
    classifier_of,
    grouped,
    without_shift,
)
from networks.checkpoints.layouts.inceptions import to_rgb
from networks.checkpoints.layouts.relations import take_relations
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.checkpoints.layouts.temporal_modules import (
    FRAMES,
    describe_frame_network,
    entries_of,
    rename_temporal,
)

BODY = "base_model."
# `nl` is the non-local part of a wrapped block; .0 is a convolution that a pool follows
NON_LOCAL: list[Rule] = [
    (r"(layer\d\.\d+)\.nl\.(theta|phi|g)(?:\.0)?\.(weight|bias)", r"\1.non_local.\2.\3"),
    (r"(layer\d\.\d+)\.nl\.W\.0\.(.+)", r"\1.non_local.out.\2"),
    (r"(layer\d\.\d+)\.nl\.W\.1\.(.+)", r"\1.non_local.bn.\2"),
]
_IN_NAME = re.compile(r"shift([1-9]\d*)_(blockres|block)(?![a-z])")
_SEGMENTS = re.compile(r"segment([1-9]\d*)")


def _recognises(state: State) -> bool:
    return any(key.startswith(BODY) for key in state)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    body = to_rgb({key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)})
    head = {key.removeprefix("new_fc."): value for key, value in state.items() if key.startswith("new_fc.")}
    if not head and (last := classifier_of(body)):  # trained without dropout: the classifier is the network's own
        head = {key.removeprefix(last): value for key, value in body.items() if key.startswith(last)}
        body = {key: value for key, value in body.items() if not key.startswith(last)}
    relations, head, state = take_relations(state, head)
    temporal, named = rename_temporal(body)
    plain = grouped(rename({without_shift(key): value for key, value in named.items()}, NON_LOCAL))
    description = describe_frame_network(plain, body, head, temporal, relations)
    if description.method == "tsm" and any(".nl." in key for key in body):
        description.arguments["non_local"] = True
    rest = {key: value for key, value in state.items() if not key.startswith((BODY, "new_fc."))}
    return {**entries_of(plain, relations, head), **rest}, description


def _read_name(description: Description, name: str) -> None:
    """Adds what MIT's test script reads from `..._shift8_blockres_avg_segment8_e50_nl.pth`: the weights do not show it.

    Of other temporal modules it is the number of segments, as in GSM's `..._InceptionV3_avg_segment16_...`. A note says
    so, and names what the weights contradict.
    """
    found, segments = _IN_NAME.search(name), _SEGMENTS.search(name)
    arguments = description.arguments
    named = {"num_segments": int(segments[1])} if segments else {}
    if "temporal" in arguments and "num_segments" in description.assumed and named:
        description.notes.remove(FRAMES)
        _take(description, named, "from the name of the file, as its authors write it")
    if description.method != "tsm" or found is None:
        return
    named = {"shift_div": int(found[1]), **named}
    description.notes = [note for note in description.notes if "not in the file" not in note]
    _take(description, named, "from the name of the file, as MIT's test script reads it")
    claims = {"shift_place": found[2], "non_local": "_nl" in name, "temporal_pool": "_tpool" in name}
    for key, claim in claims.items():
        shown = arguments.get(key, False)
        if shown != claim:
            description.notes.append(
                f"{key}: the name of the file says {claim}, its weights show {shown}, which counts"
            )


def _take(description: Description, named: Mapping[str, int], origin: str) -> None:
    description.arguments |= named
    description.assumed = tuple(key for key in description.assumed if key not in named)
    told = ", ".join(f"{key} {value}" for key, value in named.items())
    description.notes.append(f"{told}: {origin}")


LAYOUT = Layout("MIT TSM or tsn-pytorch", _recognises, _convert, _read_name)
