"""Turns the relation head of TRN, as TRN-pytorch and mmaction2 write it, into ours, which has one classifier."""

from __future__ import annotations

import math
import re

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.renaming import join
from networks.temporal.relation import PROJECTED, counted

SCALE = re.compile(r"consensus\.(?:classifier|fc_fusion_scales\.(\d+))\.([13])\.(weight|bias)")


def take_relations(state: State, head: State) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Splits the relation head off a file: returns our `relations`, our classifier, and the entries that are left.

    Each scale there has a classifier of its own, whose scores are added up; one classifier over all their features is
    the same. `relations` is empty if the file has no relations; `head` is the classifier then.

    head: what follows the image network, which is the projection of features where there are relations.
    """
    scales: dict[int, dict[str, str]] = {}  # number -> part of it -> its name in the file
    rest = {}
    for key, value in state.items():
        if match := SCALE.search(key):
            scales.setdefault(int(match[1] or 0), {})[f"{match[2]}.{match[3]}"] = key
        else:
            rest[key] = value
    if not scales:
        return {}, dict(head), rest
    ordered = [scales[number] for number in sorted(scales)]
    frames = state[ordered[0]["1.weight"]].shape[1] // PROJECTED
    counts = [counted(math.comb(frames, number)) for number in range(len(ordered))]
    relations = {f"project.{key}": value for key, value in head.items()}
    for number, scale in enumerate(ordered):
        relations |= {f"scales.{number}.{key}": state[scale[f"1.{key}"]] for key in ("weight", "bias")}
    weight = join(state, [scale["3.weight"] for scale in ordered], dim=1)
    biases = join(state, [scale["3.bias"] for scale in ordered]).chunk(len(ordered))
    bias = sum(count * own for count, own in zip(counts, biases, strict=True))
    assert isinstance(bias, Tensor)
    return relations, {"weight": weight, "bias": bias}, rest


def add_relations(description: Description, relations: State) -> None:
    """Adds the consensus, and the number of frames that its largest scale shows, to a description."""
    multiscale = "scales.1.weight" in relations
    description.arguments["consensus"] = "trn_multiscale" if multiscale else "trn"
    description.arguments["num_segments"] = relations["scales.0.weight"].shape[1] // PROJECTED
    description.assumed = tuple(name for name in description.assumed if name != "num_segments")
    description.notes = [note for note in description.notes if "num_segments" not in note]
