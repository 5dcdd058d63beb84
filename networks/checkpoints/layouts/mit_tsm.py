"""Translates MIT's temporal-shift-module and tsn-pytorch, its base; the original project has the same names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify_image import add_shift, classifier_of, describe_image_network, without_shift
from networks.checkpoints.layouts.renaming import Rule, rename
from utils.errors import CheckpointError

BODY = "base_model."
# `nl` is the non-local part of a wrapped block; .0 is a convolution that a pool follows
NON_LOCAL: list[Rule] = [
    (r"(layer\d\.\d+)\.nl\.(theta|phi|g)(?:\.0)?\.(weight|bias)", r"\1.non_local.\2.\3"),
    (r"(layer\d\.\d+)\.nl\.W\.0\.(.+)", r"\1.non_local.out.\2"),
    (r"(layer\d\.\d+)\.nl\.W\.1\.(.+)", r"\1.non_local.bn.\2"),
]
# this MobileNetV2 has the layers of a block in one flat list (convolution, norm, ReLU, ...), torchvision's groups them
_GROUPED = {  # whether the block expands -> place in the flat list -> place in the groups
    False: {"0": "0.0", "1": "0.1", "3": "1", "4": "2"},
    True: {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"},
}
_FLAT = re.compile(r"(features\.\d+\.conv)\.(\d+)\.(\w+)")


def _recognises(state: State) -> bool:
    return any(key.startswith(BODY) for key in state)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    if f"{BODY}conv1_7x7_s2.weight" in state:
        raise CheckpointError("its network is BN-Inception, which does not exist here; the file cannot be used")
    body = {key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)}
    head = {key.removeprefix("new_fc."): value for key, value in state.items() if key.startswith("new_fc.")}
    if not head and (last := classifier_of(body)):  # trained without dropout: the classifier is the network's own
        head = {key.removeprefix(last): value for key, value in body.items() if key.startswith(last)}
        body = {key: value for key, value in body.items() if not key.startswith(last)}
    plain = _grouped(rename({without_shift(key): value for key, value in body.items()}, NON_LOCAL))
    description = describe_image_network(plain, head)
    add_shift(description, body)
    if description.method == "tsm" and any(".nl." in key for key in body):
        description.arguments["non_local"] = True
    rest = {key: value for key, value in state.items() if not key.startswith((BODY, "new_fc."))}
    ours = {f"backbone.{key}": value for key, value in plain.items()}
    return {**ours, **{f"head.{key}": value for key, value in head.items()}, **rest}, description


def _grouped(body: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Groups MobileNetV2's flat blocks as torchvision does; other networks and grouped blocks stay as they are."""
    expanded = {match[1] for key in body if (match := _FLAT.fullmatch(key)) and match[2] == "7"}
    flat = {match[1] for key in body if (match := _FLAT.fullmatch(key)) and match[2] == "0"}
    renamed = {}
    for key, value in body.items():
        if (match := _FLAT.fullmatch(key)) and match[1] in flat:
            place = _GROUPED[match[1] in expanded].get(match[2], match[2])
            key = f"{match[1]}.{place}.{match[3]}"
        renamed[key] = value
    return renamed


LAYOUT = Layout("MIT TSM or tsn-pytorch", _recognises, _convert)
