"""Translates UniFormer and UniFormerV2 as their authors and mmaction2 name them; our names are the authors'.

Frames, and behind which blocks UniFormerV2's tokens are read, leave no trace in weights: without a config the usual
ones are assumed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import SOMETHING, Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.checkpoints.layouts.mmaction2_config import follow, read_meta
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.clip.uniformer import DEPTHS, WIDTHS
from networks.clip.uniformer_v2 import SIZES
from utils.errors import CheckpointError

RULES: list[Rule] = [
    (r"cls_head\.fc_cls\.(.+)", r"head.\1"),
    (r"backbone\.transformer\.proj\.0\.(.+)", r"transformer.norm.\1"),  # of the authors' UniFormerV2
    (r"backbone\.transformer\.proj\.2\.(.+)", r"head.\1"),
    (r"backbone\.(.+)", r"\1"),
]
OURS: list[Rule] = [
    (r"(class_embedding|positional_embedding|transformer\.temporal_cls_token|transformer\.balance)", r"\1.weight"),
    (r"(.+\.attn)\.in_proj_(weight|bias)", r"\1.in_proj.\2"),
]
TABLE = re.compile(r"(class_embedding|positional_embedding|transformer\.(temporal_cls_token|balance))\.weight")
THEIR_EPS = 1e-5  # of mmaction2's UniFormer
FIRST, DEEP, READER = "patch_embed1.proj.weight", "blocks3.0.attn.qkv.weight", "transformer.temporal_cls_token"
REDUCTION = 1.5
STRIDES = {"uniformer": 4, "uniformerv2": 1}


def _names(state: State) -> dict[str, Tensor]:
    """Renames all entries; tables of one or more vectors become matrices."""
    found = rename(rename(state, RULES), OURS)
    return {key: value.reshape(-1, value.shape[-1]) if TABLE.fullmatch(key) else value for key, value in found.items()}


def _is_uniformer(ours: Mapping[str, Tensor]) -> bool:
    return FIRST in ours and ours[FIRST].ndim == 5 and DEEP in ours


def _recognises(state: State) -> bool:
    ours = state if FIRST in state else _names(state) if f"backbone.{FIRST}" in state else {}
    second = any(f"{prefix}{READER}" in state for prefix in ("", "backbone."))
    return second or _is_uniformer(ours)


def _of_mmaction2(state: State) -> bool:
    return _recognises(state) and ("cls_head.fc_cls.weight" in state or "backbone.transformer.norm.weight" in state)


def _described(ours: Mapping[str, Tensor]) -> Description:
    """Describes the network with what is usual where the file shows nothing."""
    try:
        kind, name, kwargs, frames = _second(ours) if f"{READER}.weight" in ours else _first(ours)
    except KeyError as error:
        return Description(method="clip3d", notes=[f"backbone: UniFormer without {error.args[0]}"])
    if not name:
        return Description(method="clip3d", notes=[f"backbone: {kind}, which no network here has"])
    description = describe_clip_network(name, ours, kwargs=kwargs, head="head")
    spread = description.arguments.get("num_class") == SOMETHING
    stride = 1 if spread else STRIDES[name.partition("_")[0]]
    description.arguments |= {"clip_len": frames, "frame_stride": stride}
    description.assumed += ("clip_len", "frame_stride")
    description.notes.append(f"clip_len and frame_stride: not in the file; {frames} and {stride} are assumed")
    return description


def _count(ours: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in ours if (match := re.match(pattern, key))})


def _first(ours: Mapping[str, Tensor]) -> tuple[str, str, dict[str, Any], int]:
    widths = [ours[f"patch_embed{stage}.proj.weight"].shape[0] for stage in (1, 2, 3, 4)]
    depths = tuple(_count(ours, rf"blocks{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    name = next((name for name, known in DEPTHS.items() if known == depths), "uniformer_s")
    kwargs: dict[str, Any] = {} if tuple(widths) == WIDTHS else {"widths": widths}
    if DEPTHS[name] != depths:
        kwargs["depths"] = [*depths]
    odd = ours[FIRST].shape[2] != 3 or "blocks1.0.attn.weight" not in ours or "blocks3.0.t_attn.qkv.weight" in ours
    return "UniFormer of another form", "" if odd else name, kwargs, 16


def _counts(ours: Mapping[str, Tensor]) -> tuple[int, int]:
    """Counts the blocks of a UniFormerV2, and its readers."""
    return _count(ours, r"transformer\.resblocks\.(\d+)\."), _count(ours, r"transformer\.dec\.(\d+)\.")


def _second(ours: Mapping[str, Tensor]) -> tuple[str, str, dict[str, Any], int]:
    kernel = ours["conv1.weight"].shape
    depth, reads = _counts(ours)
    name = next((name for name, size in SIZES.items() if (size.width, size.patch) == (kernel[0], kernel[3])), "")
    if not name or "transformer.balance.weight" not in ours:
        return f"UniFormerV2 with {kernel[0]} channels and patches of {kernel[3]}", "", {}, 0
    size, kwargs = SIZES[name], dict[str, Any]()
    if depth != size.depth:
        kwargs["depth"] = depth
    if reads != size.reads:
        kwargs["reads"] = [*range(depth - reads, depth)]
    if (side := math.isqrt(len(ours["positional_embedding.weight"]) - 1) * size.patch) != 224:
        kwargs["spatial_size"] = side
    local = ours.get("transformer.resblocks.0.lmhra1.pos_embed.1.weight")
    if local is not None:
        kwargs["local"] = True
        if "transformer.resblocks.0.lmhra2.pos_embed.1.weight" not in ours:
            kwargs["double_local"] = False
        if int(size.width / REDUCTION) != local.shape[0]:
            kwargs["reduction"] = size.width / (local.shape[0] + 0.5)
    if kernel[2] > 1:
        kwargs["halve_frames"] = True
    return "", name, kwargs, 16 if kernel[2] > 1 else 8


def _authors(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    ours = _names(state)
    return with_prefix(ours), _described(ours)


def _mmaction2(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Translates a file and follows the config in it, if it has one."""
    ours = _names(state)
    description = _described(ours)
    kwargs = description.arguments.setdefault("kwargs", {})
    if f"{READER}.weight" not in ours:
        kwargs["eps"] = THEIR_EPS
    weights = with_prefix(ours)
    config = read_meta(others, description)
    if config is not None:
        follow(config, description, weights)
        if f"{READER}.weight" in ours and description.backbone:
            _follow_second(config.backbone, ours, kwargs)
    if not kwargs:
        del description.arguments["kwargs"]
    return weights, description


def _follow_second(backbone: Mapping[str, Any], ours: Mapping[str, Tensor], kwargs: dict[str, Any]) -> None:
    """Adds what a config of mmaction2 says of UniFormerV2. Raises: CheckpointError for readers that do not fit."""
    kwargs.pop("drop_path", None)  # there it is that of the readers
    for theirs, name in (("backbone_drop_path_rate", "drop_path"), ("drop_path_rate", "reader_drop_path")):
        if isinstance(rate := backbone.get(theirs), (int, float)):
            kwargs[name] = float(rate)
    reads = backbone.get("return_list")
    if not isinstance(reads, (list, tuple)) or not all(isinstance(block, int) for block in reads):
        return
    depth, readers = _counts(ours)
    if len(reads) != readers or max(reads) >= depth:
        raise CheckpointError(
            f"its config says return_list {list(reads)}, but the weights have {readers} readers and {depth} blocks"
        )
    if [*reads] != [*range(depth - readers, depth)]:
        kwargs["reads"] = [*reads]


LAYOUTS = (
    Layout("mmaction2 UniFormer", _of_mmaction2, _mmaction2, learned="qv"),
    Layout("UniFormer", _recognises, _authors, learned="qv"),
)
