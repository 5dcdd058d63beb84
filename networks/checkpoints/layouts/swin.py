"""Translates Video Swin as its authors and mmaction2 name it to torchvision's names.

The table of relative positions shows the window. `relative_position_index`, which the window decides, may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.checkpoints.layouts.mmaction2_config import follow, read_meta
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.clip.swin import DEPTHS, WINDOW

TABLE, INDEX = "attn.relative_position_bias_table", "attn.relative_position_index"
NETWORKS = {("t", 96): "swin3d_t", ("s", 96): "swin3d_s", ("s", 128): "swin3d_b", ("s", 192): "swin3d_b"}
STAGES = len(DEPTHS["t"])


def _rules() -> list[Rule]:
    """Makes rules for all stages; torchvision lists stages and the mergings between them in one sequence."""
    rules: list[Rule] = [(r"patch_embed\.(.+)", r"patch_embed.\1")]
    for stage in range(STAGES):
        block, ours = rf"layers\.{stage}\.blocks\.(\d+)", rf"features.{2 * stage}.\1"
        rules += [
            (rf"{block}\.mlp\.fc1\.(.+)", rf"{ours}.mlp.0.\2"),
            (rf"{block}\.mlp\.fc2\.(.+)", rf"{ours}.mlp.3.\2"),
            (rf"{block}\.(.+)", rf"{ours}.\2"),
            (rf"layers\.{stage}\.downsample\.(.+)", rf"features.{2 * stage + 1}.\1"),
        ]
    return [*rules, (r"norm3?\.(.+)", r"norm.\1"), (r"cls_head\.fc_cls\.(.+)", r"head.\1")]


def _recognises(state: State) -> bool:
    patches = state.get("backbone.patch_embed.proj.weight")
    return patches is not None and patches.ndim == 5 and f"backbone.layers.0.blocks.0.{TABLE}" in state


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    ours = rename({key.removeprefix("backbone."): value for key, value in state.items()}, _rules())
    description, window = _described(ours)
    if window:
        index = ShiftedWindowAttention3d(1, window, [0, 0, 0], 1).relative_position_index
        for key in [key for key in ours if key.endswith(TABLE)]:
            ours.setdefault(key.replace(TABLE, INDEX), index)
    weights = with_prefix(ours)
    config = read_meta(others, description)
    if config is not None:
        follow(config, description, weights)
    return weights, description


def _described(ours: State) -> tuple[Description, list[int]]:
    """Describes the network, and returns its window; both empty but for a note if there is no such network here."""
    blocks = [{m[1] for key in ours if (m := re.match(rf"features\.{2 * i}\.(\d+)\.", key))} for i in range(STAGES)]
    depths = tuple(len(found) for found in blocks)
    kind = next((name for name, known in DEPTHS.items() if known == depths), "")
    width, rows = ours["patch_embed.proj.weight"].shape[0], ours[f"features.0.0.{TABLE}"].shape[0]
    plane = (2 * WINDOW[1] - 1) * (2 * WINDOW[2] - 1)
    name = NETWORKS.get((kind, width), "")
    if not name or rows % (2 * plane) != plane:
        what = f"Swin with {depths} blocks, {width} channels and tables of {rows} rows"
        return Description(method="clip3d", notes=[f"backbone: {what}, which no network here has"]), []
    window = [(rows // plane + 1) // 2, *WINDOW[1:]]
    kwargs: dict[str, Any] = {"window": window} if window != [*WINDOW] else {}
    if width > 128:
        kwargs["embed_dim"] = width
    description = describe_clip_network(name, ours, kwargs=kwargs, head="head")
    description.arguments |= {"clip_len": 32, "frame_stride": 2}
    description.assumed += ("clip_len", "frame_stride")
    description.notes.append("clip_len and frame_stride: not in the file; 32 and 2 are assumed")
    return description, window


LAYOUT = Layout("Video Swin", _recognises, _convert, learned="qv")
