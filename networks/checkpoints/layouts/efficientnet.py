"""Translates lukemelas' EfficientNet-PyTorch, whose weights come from TensorFlow, to timm's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.renaming import Rule, rename

# number of blocks, and channels of the last convolution -> variant
VARIANTS = {
    (16, 1280): "b0", (23, 1280): "b1", (23, 1408): "b2", (26, 1536): "b3",
    (32, 1792): "b4", (39, 2048): "b5", (45, 2304): "b6", (55, 2560): "b7", (61, 2816): "b8",
}  # fmt: skip
# the same of networks without squeeze and excitation, by the channels in front of the last convolution
LITE = {(16, 320): "lite0", (21, 320): "lite1", (21, 352): "lite2", (24, 384): "lite3", (30, 448): "lite4"}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
_SHARED: list[Rule] = [
    (r"_se_reduce\.(.+)", r"se.conv_reduce.\1"),
    (r"_se_expand\.(.+)", r"se.conv_expand.\1"),
    (r"_depthwise_conv\.(.+)", r"conv_dw.\1"),
]
EXPANDED: list[Rule] = [
    *_SHARED,
    (r"_expand_conv\.(.+)", r"conv_pw.\1"),
    (r"_bn0\.(.+)", r"bn1.\1"),
    (r"_bn1\.(.+)", r"bn2.\1"),
    (r"_project_conv\.(.+)", r"conv_pwl.\1"),
    (r"_bn2\.(.+)", r"bn3.\1"),
]
# a block without expansion has one convolution and one norm less
PLAIN: list[Rule] = [
    *_SHARED,
    (r"_bn1\.(.+)", r"bn1.\1"),
    (r"_project_conv\.(.+)", r"conv_pw.\1"),
    (r"_bn2\.(.+)", r"bn2.\1"),
]
OUTSIDE: list[Rule] = [
    (r"_conv_stem\.(.+)", r"conv_stem.\1"),
    (r"_bn0\.(.+)", r"bn1.\1"),
    (r"_conv_head\.(.+)", r"conv_head.\1"),
    (r"_bn1\.(.+)", r"bn2.\1"),
]


def _recognises(state: State) -> bool:
    return "_conv_stem.weight" in state and "_blocks.0._depthwise_conv.weight" in state


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    places = _places(state)
    body: dict[str, Tensor] = {}
    for key, value in rename(state, OUTSIDE).items():
        if match := _BLOCK.fullmatch(key):
            rules = EXPANDED if f"_blocks.{match[1]}._expand_conv.weight" in state else PLAIN
            (inside,) = rename({match[2]: value}, rules)
            key = f"blocks.{places[int(match[1])]}.{inside}"
        if not key.startswith("_fc."):
            body[key] = value
    head = state.get("_conv_head.weight")
    squeezes = any("._se_reduce." in key for key in state)
    widths = (0, 0) if head is None else (int(head.shape[0]), int(head.shape[1]))
    variant = VARIANTS.get((len(places), widths[0])) if squeezes else LITE.get((len(places), widths[1]))
    description = Description(backbone=f"timm/tf_efficientnet_{variant}" if variant else "")
    description.notes.append(
        "trained with TensorFlow's padding and batch norm: timm's networks tf_efficientnet_... compute the same, "
        "efficientnet_... have the same weights and other scores"
    )
    return body, description


def _places(state: State) -> dict[int, str]:
    """Returns stage and block, `3.1`, of each block in the flat list: a stage begins where the width changes."""
    pattern = re.compile(r"_blocks\.(\d+)\._project_conv\.weight")
    widths = {int(match[1]): int(value.shape[0]) for key, value in state.items() if (match := pattern.fullmatch(key))}
    places, stage, inside, before = {}, -1, 0, -1
    for number in sorted(widths):
        new = widths[number] != before
        stage, inside, before = stage + new, 0 if new else inside + 1, widths[number]
        places[number] = f"{stage}.{inside}"
    return places


LAYOUT = Layout("image network of EfficientNet-PyTorch", _recognises, _convert)
