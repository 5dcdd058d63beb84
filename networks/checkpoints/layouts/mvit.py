"""Translates MViT as PyTorchVideo, PySlowFast and mmaction2 name it to torchvision's names.

The position tables show the size of the clips. The steps between the keys leave no trace in weights, and all published
networks have the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, with_prefix
from networks.checkpoints.layouts.mmaction2_config import follow, read_meta
from networks.checkpoints.layouts.pyslowfast import protocol_of, read_config
from networks.checkpoints.layouts.renaming import Rule, join, rename
from networks.clip.mvit import PATCH, TUBELET, WIDER_AT
from utils.errors import CheckpointError

SIZE = 224  # pixels along a side of the clips, by default
STRIDES = {16: 4, 32: 3, 40: 3}  # frames of the published networks -> step from one to the next
# PySlowFast's arguments that the weights do not show -> the value that our networks have
UNTRACED: dict[str, Any] = {
    "PATCH_STRIDE": [2, 4, 4],
    "POOL_KV_STRIDE_ADAPTIVE": [1, 8, 8],
    "MODE": "conv",
    "POOL_FIRST": False,
    "NORM": "layernorm",
}
SECOND_NAME = re.compile(r"(blocks\.\d+\.attn)\._attention_pool_([qkv])\.(pool|norm)\.(weight|bias)")  # PyTorchVideo's
SEPARATE = re.compile(r"(blocks\.\d+\.attn)\.q\.(weight|bias)")

RULES: list[Rule] = [
    (r"patch_embed\.(?:proj|projection|patch_model)\.(.+)", r"conv_proj.\1"),
    (r"(?:cls_positional_encoding\.)?cls_token", r"pos_encoding.class_token"),
    (r"(?:cls_positional_encoding\.)?pos_embed_(spatial|temporal|class)", r"pos_encoding.\1_pos"),
    (r"(blocks\.\d+\.attn)\.pool_([qkv])\.(.+)", r"\1.pool_\2.pool.\3"),
    (r"(blocks\.\d+\.attn)\.norm_([qkv])\.(.+)", r"\1.pool_\2.norm_act.0.\3"),
    (r"(blocks\.\d+\.attn)\.proj\.(.+)", r"\1.project.0.\2"),
    (r"(blocks\.\d+\.mlp)\.fc1\.(.+)", r"\1.0.\2"),
    (r"(blocks\.\d+\.mlp)\.fc2\.(.+)", r"\1.3.\2"),
    (r"(blocks\.\d+)\.proj\.(.+)", r"\1.project.\2"),
    (r"(?:norm_embed|norm3|norm)\.(.+)", r"norm.\1"),
    (r"head\.(?:proj|projection|fc_cls)\.(.+)", r"head.1.\1"),
]


def _translated(state: State) -> tuple[dict[str, Tensor], Description]:
    """Renames and describes an MViT whose keys have no prefix."""
    ours = rename(_joined(_once(state)), RULES)
    for key, axes in (("class_token", 1), ("class_pos", 1), ("spatial_pos", 2), ("temporal_pos", 2)):
        if (value := ours.get(f"pos_encoding.{key}")) is not None and value.shape[: 3 - axes].numel() == 1:
            ours[f"pos_encoding.{key}"] = value.reshape(value.shape[3 - axes :])
    patches = ours.get("conv_proj.weight")
    if patches is not None and patches.ndim == 4:  # PyTorchVideo's network over pictures
        ours["conv_proj.weight"] = patches.unsqueeze(2)
    return with_prefix(ours), _described(ours)


def _once(state: State) -> dict[str, Tensor]:
    """Names each tensor once. Raises: CheckpointError if two names of one tensor have different values."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        match = SECOND_NAME.fullmatch(name)
        key = f"{match[1]}.{match[3]}_{match[2]}.{match[4]}" if match else name
        if key in found and not _same(found[key], value):
            raise CheckpointError(f"{key}: is in the file under two names, with different values")
        found[key] = value
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (one.is_meta or other.is_meta or torch.equal(one, other))


def _joined(state: State) -> dict[str, Tensor]:
    """Stacks separate projections q, k and v, as PyTorchVideo has them, into one."""
    found = dict(state)
    for key in state:
        if match := SEPARATE.fullmatch(key):
            parts = [f"{match[1]}.{letter}.{match[2]}" for letter in "qkv"]
            if all(part in state for part in parts):
                found[f"{match[1]}.qkv.{match[2]}"] = join(found, parts)
                for part in parts:
                    del found[part]
    return found


def _described(ours: State) -> Description:
    """Describes the network by its tables and widths; if no network here has them, only by a note that says why."""
    table, steps = ours.get("pos_encoding.spatial_pos"), ours.get("pos_encoding.temporal_pos")
    first = table is not None
    if table is not None and steps is not None:
        side, tubelets = math.isqrt(table.shape[0]), steps.shape[0]
    else:
        table, steps = ours.get("blocks.0.attn.rel_pos_h"), ours.get("blocks.0.attn.rel_pos_t")
        if table is None or steps is None:
            return Description(method="clip3d", notes=["backbone: MViT without the position tables of version 1 or 2"])
        side, tubelets = (table.shape[0] + 1) // 2, (steps.shape[0] + 1) // 2
    try:
        frames = tubelets if ours["conv_proj.weight"].shape[2] == 1 else TUBELET * tubelets
        kwargs = {} if first else _shape(ours)
    except KeyError as error:
        return Description(method="clip3d", notes=[f"backbone: MViT without {error.args[0]}"])
    if PATCH * side != SIZE:
        kwargs["spatial_size"] = PATCH * side
    description = describe_clip_network("mvit_v1_b" if first else "mvit_v2_s", ours, kwargs=kwargs, head="head.1")
    stride = STRIDES.get(frames, 1)
    description.arguments |= {"clip_len": frames, "frame_stride": stride}
    description.assumed += ("frame_stride",)
    description.notes.append(f"frame_stride: not in the file; {stride} is assumed")
    return description


def _shape(ours: State) -> dict[str, Any]:
    """Returns depth, width, heads and widening of a version 2, as far as they are not those of S."""
    widths = _widths(ours)
    head = ours["blocks.0.attn.rel_pos_h"].shape[1]
    inside = [index for index, (entering, leaving) in enumerate(widths) if leaving > entering]
    in_attention = all(ours[f"blocks.{index}.attn.qkv.weight"].shape[0] > 3 * widths[index][0] for index in inside)
    wider = inside if in_attention else [index + 1 for index in inside]
    found = {
        "depth": (len(widths), 16),
        "embed_dim": (widths[0][0], 96),
        "num_heads": (widths[0][0] // head, 1),
        "wider_at": (wider, [*WIDER_AT]),
        "widen_in": ("attention" if in_attention else "mlp", "attention"),
    }
    return {name: value for name, (value, usual) in found.items() if value != usual}


def _widths(ours: State) -> list[tuple[int, int]]:
    """Returns the channels that enter and leave each block."""
    count = len({match[1] for key in ours if (match := re.match(r"blocks\.(\d+)\.", key))})
    return [
        (int(ours[f"blocks.{index}.norm1.weight"].shape[0]), int(ours[f"blocks.{index}.mlp.3.weight"].shape[0]))
        for index in range(count)
    ]


def _recognises(state: State, patches: str) -> bool:
    weight = state.get(f"{patches}.weight")
    pools = re.compile(r"(?:backbone\.)?blocks\.0\.attn\.(?:pool_k\.|_attention_pool_k\.pool\.)weight")
    return weight is not None and weight.ndim in (4, 5) and any(pools.fullmatch(key) for key in state)


def _pytorchvideo(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    return _translated(state)


def _pyslowfast(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Translates a file and follows the config in it. Raises: CheckpointError for an argument that no network has."""
    weights, description = _translated(state)
    config = read_config(others.get("cfg"))
    if not config or not description.backbone:
        return weights, description
    options = config.get("MVIT", {})
    untraced = UNTRACED | {"RESIDUAL_POOLING": description.backbone == "mvit_v2_s"}
    for key, value in untraced.items():
        if options.get(key, value) != value:
            raise CheckpointError(f"its config says {key} {options[key]}; our networks have {value}")
    if isinstance(stride := config.get("DATA", {}).get("SAMPLING_RATE"), int):
        description.arguments["frame_stride"] = stride
        description.notes, description.assumed = [], ()
    if isinstance(rate := options.get("DROPPATH_RATE"), (int, float)):
        description.arguments.setdefault("kwargs", {})["drop_path"] = float(rate)
    description.protocol = protocol_of(config)
    return weights, description


def _mmaction2(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    """Translates a file and follows the config in it, which the files converted from PySlowFast do not have."""
    plain = {re.sub(r"^backbone\.|^cls_(?=head\.)", "", key): value for key, value in state.items()}
    weights, description = _translated(plain)
    description.protocol = {"augmentation": {"mean": [0.45] * 3, "std": [0.225] * 3}}
    description.notes.append("mean and std: not in the file; 0.45 and 0.225 are assumed, as in most of its configs")
    config = read_meta(others, description)
    if config is not None:
        follow(config, description, weights)
    return weights, description


LAYOUTS = (
    Layout(
        "PyTorchVideo MViT", lambda state: _recognises(state, "patch_embed.patch_model"), _pytorchvideo, learned="qv"
    ),
    Layout("PySlowFast MViT", lambda state: _recognises(state, "patch_embed.proj"), _pyslowfast, learned="qv"),
    Layout(
        "mmaction2 MViT", lambda state: _recognises(state, "backbone.patch_embed.projection"), _mmaction2, learned="qv"
    ),
)
