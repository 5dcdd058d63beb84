"""Translates mmaction2's C3D, with its classifier or, as the file of Sports-1M to start from, without."""

from __future__ import annotations

from torch import Tensor

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.clip.c3d import CLIP

BODY = r"(?:backbone\.)?"  # the file to start from holds the backbone alone
RULES: list[Rule] = [
    (rf"{BODY}(conv\d[ab])\.conv\.(.+)", r"\1.\2"),
    (rf"{BODY}(fc[67])\.(.+)", r"\1.\2"),
    (r"cls_head\.fc_cls\.(.+)", r"fc.\1"),
]


def is_c3d(state: State) -> bool:
    """Tells whether these are weights of C3D under mmaction2's names."""
    return "backbone.conv1a.conv.weight" in state or "conv1a.conv.weight" in state


def convert_c3d(state: State) -> tuple[dict[str, Tensor], Description]:
    """Turns weights of C3D into entries of our state dict and a description, as `Layout.convert` does."""
    ours = rename(state, RULES)
    description = describe_clip_network("c3d", ours)
    description.arguments |= {"clip_len": CLIP[0], "frame_stride": 1}
    return with_prefix(ours), description
