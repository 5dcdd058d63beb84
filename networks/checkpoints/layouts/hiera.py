"""Reads Hiera over clips as its authors publish it, and as Hugging Face does, with the same names.

Widths and blocks show the network, and the position tables the size of its clips.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.clip.hiera import POOLS, SIZES, STRIDE

SPACE, TIME = "pos_embed_spatial", "pos_embed_temporal"
PATCHES = "patch_embed.proj.weight"
# parts of files of masked auto-encoders that classify nothing
DECODER = re.compile(r"(decoder_|mask_token|encoder_norm\.|multi_scale_fusion_heads\.).*")
FRAME_STRIDE = 4  # of all published networks


def _recognises(state: State) -> bool:
    patches = state.get(PATCHES)
    is_mvit = "blocks.0.attn.pool_k.weight" in state
    return patches is not None and patches.ndim == 5 and {SPACE, TIME} <= state.keys() and not is_mvit


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    ours = {key: value for key, value in state.items() if not DECODER.fullmatch(key)}
    for table in (SPACE, TIME):
        ours[f"{table}.weight"] = ours.pop(table)[0]
    description = _described(ours)
    pretrained = len(ours) < len(state)
    if pretrained and "norm.weight" not in ours:  # what it normalises behind its blocks is another sum of them
        description.fresh = ("network.norm.",)
        description.notes.append(
            "a masked auto-encoder: its decoder is left out, and the last norm begins as it does in a new network"
        )
    return with_prefix(ours), description


def _described(ours: State) -> Description:
    """Describes the network; a note says why if no network here has these blocks."""
    width = ours[PATCHES].shape[0]
    blocks = {int(match[1]) for key in ours if (match := re.match(r"blocks\.(\d+)\.", key))}
    begins = sorted(index for index in blocks if f"blocks.{index}.proj.weight" in ours)
    edges = [0, *begins, len(blocks)]
    depths = tuple(end - begin for begin, end in itertools.pairwise(edges))
    same_width = [name for name, size in SIZES.items() if size[0] == width]
    name = next((name for name in same_width if SIZES[name][2] == depths), "".join(same_width[:1]))
    if not name or len(depths) != POOLS + 1:
        what = f"Hiera with {list(depths)} blocks and {width} channels"
        return Description(method="clip3d", notes=[f"backbone: {what}, which no network here has"])
    kwargs: dict[str, Any] = {} if SIZES[name][2] == depths else {"depths": [*depths]}
    if (side := math.isqrt(len(ours[f"{SPACE}.weight"])) * STRIDE[1]) != 224:
        kwargs["spatial_size"] = side
    description = describe_clip_network(name, ours, kwargs=kwargs, head="head.projection")
    description.arguments |= {"clip_len": len(ours[f"{TIME}.weight"]) * STRIDE[0], "frame_stride": FRAME_STRIDE}
    description.assumed += ("frame_stride",)
    description.notes.append(f"frame_stride: not in the file; {FRAME_STRIDE} is assumed")
    return description


LAYOUT = Layout("Hiera", _recognises, _convert, learned="qv")
