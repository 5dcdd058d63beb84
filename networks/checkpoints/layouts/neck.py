"""Translates the Temporal Pyramid Network as mmaction2 writes it, the neck between a network and its classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.python_config import section
from networks.checkpoints.layouts.renaming import Rule, rename
from utils.errors import CheckpointError

PREFIX, AUXILIARY = "neck.", "neck.aux_head."
_PLACE = {"conv": "0", "bn": "1"}  # in one of our layers
RULES: list[Rule] = [
    (r"neck\.temporal_modulation_ops\.(\d)\.conv\.conv\.(.+)", r"neck.tempo.\1.\2"),
    (r"neck\.downsample_ops\.0\.conv\.conv\.(.+)", r"neck.back.\1"),
    *(
        rule
        for part, place in _PLACE.items()
        for rule in (
            (rf"neck\.spatial_modulation\.spatial_modulation\.0\.0\.{part}\.(.+)", rf"neck.align.{place}.\1"),
            (rf"neck\.level_fusion_1\.downsamples\.(\d)\.conv\.{part}\.(.+)", rf"neck.fuse.0.levels.\1.{place}.\2"),
            (rf"neck\.level_fusion_2\.downsamples\.(\d)\.conv\.{part}\.(.+)", rf"neck.fuse.1.levels.\1.{place}.\2"),
            (rf"neck\.level_fusion_1\.fusion_conv\.{part}\.(.+)", rf"neck.fuse.0.both.{place}.\1"),
            (rf"neck\.level_fusion_2\.fusion_conv\.{part}\.(.+)", rf"neck.fuse.1.both.{place}.\1"),
            (rf"neck\.pyramid_fusion\.{part}\.(.+)", rf"neck.join.{place}.\1"),
        )
    ),
]


def take_neck(state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Splits the neck off a file: returns its entries under our names, none if there is no neck, and those left.

    The auxiliary head, which only a training there uses, is in neither.
    """
    neck = {key: value for key, value in state.items() if key.startswith(PREFIX) and not key.startswith(AUXILIARY)}
    return rename(neck, RULES), {key: value for key, value in state.items() if not key.startswith(PREFIX)}


def add_neck(description: Description, config: Mapping[str, Any] | None) -> None:
    """Adds the neck to a description. config: the whole config in the file, if it has one.

    Raises: CheckpointError for another order of its two ways, which the weights do not show.
    """
    flow = section(section(config or {}, "model"), "neck").get("flow_type", "cascade")
    if flow != "cascade":
        raise CheckpointError(f"its config says flow_type {flow} for the neck; our networks have cascade")
    description.arguments["neck"] = "tpn"
    description.notes.append("neck.aux_head: its loss is only for a training, so it is left out")
