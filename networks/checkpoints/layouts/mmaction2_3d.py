"""Translates mmaction2's networks over one clip: SlowFast, SlowOnly, R(2+1)D, channel-separated ones, X3D and C3D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.c3d import convert_c3d, is_c3d
from networks.checkpoints.layouts.identify import (
    describe_clip_network,
    describe_resnet3d,
    non_local_blocks,
    same_network,
    with_prefix,
)
from networks.checkpoints.layouts.identify_slowfast import describe_slowfast
from networks.checkpoints.layouts.mmaction2_config import BACKBONES, STEM, follow, read_meta
from networks.checkpoints.layouts.neck import add_neck, take_neck
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.checkpoints.layouts.x3d import MMACTION2, convert_x3d, is_x3d, read_name
from networks.clip.factorised_resnet import VIDEO_RESNETS

BLOCK = r"(layer\d\.\d+)"
HEAD: list[Rule] = [(r"cls_head\.fc_cls\.(.+)", r"fc.\1")]


def _residual(theirs: str, ours: str) -> list[Rule]:
    """Makes rules for ResNet3d and its pathways, where one module holds a convolution and its norm."""
    return [
        (rf"{theirs}conv1\.conv\.(.+)", rf"{ours}conv1.\1"),
        (rf"{theirs}conv1\.bn\.(.+)", rf"{ours}bn1.\1"),
        (rf"{theirs}{BLOCK}\.conv(\d)\.conv\.(.+)", rf"{ours}\1.conv\2.\3"),
        (rf"{theirs}{BLOCK}\.conv(\d)\.bn\.(.+)", rf"{ours}\1.bn\2.\3"),
        (rf"{theirs}{BLOCK}\.downsample\.conv\.(.+)", rf"{ours}\1.downsample.0.\2"),
        (rf"{theirs}{BLOCK}\.downsample\.bn\.(.+)", rf"{ours}\1.downsample.1.\2"),
        (rf"{theirs}{BLOCK}\.non_local_block\.(theta|phi|g)(?:\.0)?\.conv\.(.+)", rf"{ours}\1.non_local.\2.\3"),
        (rf"{theirs}{BLOCK}\.non_local_block\.conv_out\.conv\.(.+)", rf"{ours}\1.non_local.out.\2"),
        (rf"{theirs}{BLOCK}\.non_local_block\.conv_out\.bn\.(.+)", rf"{ours}\1.non_local.bn.\2"),
    ]


SLOWFAST: list[Rule] = [
    *_residual(r"backbone\.slow_path\.", "slow."),
    *_residual(r"backbone\.fast_path\.", "fast."),
    (r"backbone\.slow_path\.conv1_lateral\.(.+)", r"lateral.0.\1"),
    (r"backbone\.slow_path\.layer(\d)_lateral\.(.+)", r"lateral.\1.\2"),
    *HEAD,
]
SINGLE: list[Rule] = [*_residual(r"backbone\.", ""), *HEAD]

# torchvision's video ResNet has a convolution at place 0 and its norm at place 1 of each group; inside a factorised
# convolution the spatial half is at 0, its norm at 1, the temporal half at 3
_HALVES = {"conv_s": "0", "bn_s": "1", "conv_t": "3"}
FACTORISED: list[Rule] = [
    *[(rf"backbone\.conv1\.conv\.{half}\.(.+)", rf"stem.{place}.\1") for half, place in _HALVES.items()],
    (r"backbone\.conv1\.bn\.(.+)", r"stem.4.\1"),
    *[
        (rf"backbone\.{BLOCK}\.conv(\d)\.conv\.{half}\.(.+)", rf"\1.conv\2.0.{place}.\3")
        for half, place in _HALVES.items()
    ],
    (rf"backbone\.{BLOCK}\.conv(\d)\.bn\.(.+)", r"\1.conv\2.1.\3"),
    *[
        (rf"backbone\.{BLOCK}\.downsample\.conv\.{half}\.(.+)", rf"\1.downsample.0.{place}.\2")
        for half, place in _HALVES.items()
    ],
    (rf"backbone\.{BLOCK}\.downsample\.bn\.(.+)", r"\1.downsample.1.\2"),
    *HEAD,
]


def _separated(preserved: bool) -> list[Rule]:
    """Makes rules for CSN, where conv2 lists one (ir) or two (ip) convolutions with norms; ip's first has no ReLU."""
    if preserved:
        middle = [
            (rf"backbone\.{BLOCK}\.conv2\.0\.conv\.(.+)", r"\1.conv2.0.0.\2"),
            (rf"backbone\.{BLOCK}\.conv2\.0\.bn\.(.+)", r"\1.conv2.0.1.\2"),
            (rf"backbone\.{BLOCK}\.conv2\.1\.conv\.(.+)", r"\1.conv2.0.2.\2"),
            (rf"backbone\.{BLOCK}\.conv2\.1\.bn\.(.+)", r"\1.conv2.1.\2"),
        ]
    else:
        middle = [
            (rf"backbone\.{BLOCK}\.conv2\.0\.conv\.(.+)", r"\1.conv2.0.\2"),
            (rf"backbone\.{BLOCK}\.conv2\.0\.bn\.(.+)", r"\1.conv2.1.\2"),
        ]
    return [
        (r"backbone\.conv1\.conv\.(.+)", r"stem.0.\1"),
        (r"backbone\.conv1\.bn\.(.+)", r"stem.1.\1"),
        *middle,
        (rf"backbone\.{BLOCK}\.conv([13])\.conv\.(.+)", r"\1.conv\2.0.\3"),
        (rf"backbone\.{BLOCK}\.conv([13])\.bn\.(.+)", r"\1.conv\2.1.\3"),
        (rf"backbone\.{BLOCK}\.downsample\.conv\.(.+)", r"\1.downsample.0.\2"),
        (rf"backbone\.{BLOCK}\.downsample\.bn\.(.+)", r"\1.downsample.1.\2"),
        *HEAD,
    ]


def _recognises(state: State) -> bool:
    stem = state.get("backbone.conv1.conv.weight")
    return (
        "backbone.slow_path.conv1.conv.weight" in state
        or "backbone.conv1.conv.conv_s.weight" in state
        or MMACTION2 in state
        or is_c3d(state)
        or (stem is not None and stem.ndim == 5)
    )


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    neck, state = take_neck(state)
    weights, description = _translated(state)
    weights |= with_prefix(neck)
    config = read_meta(others, description)
    if config is not None:
        follow(config, description, weights)
    if neck:
        add_neck(description, None if config is None else config.whole)
    if description.backbone.startswith("i3d") and (config is None or config.type not in BACKBONES):
        description.arguments["kwargs"] |= dict.fromkeys(STEM.values(), 2)
        description.arguments |= {"clip_len": 32, "frame_stride": 2}
        description.notes = [note for note in description.notes if not note.startswith("clip_len")]
        description.notes.append(
            "clip_len, frame_stride, strides in time of the stem: not in the file; 32, 2 and 2 are assumed"
        )
    return weights, description


def _translated(state: State) -> tuple[dict[str, Tensor], Description]:
    if "backbone.slow_path.conv1.conv.weight" in state:
        return _slowfast(state)
    if is_x3d(state):
        return convert_x3d(state)
    if is_c3d(state):
        return convert_c3d(state)
    if "backbone.conv1.conv.conv_s.weight" in state:
        return _video_resnet(rename(state, FACTORISED))
    if "backbone.layer1.0.conv2.0.conv.weight" in state:
        return _video_resnet(rename(state, _separated("backbone.layer1.0.conv2.1.conv.weight" in state)))
    ours = rename(state, SINGLE)
    description = describe_resnet3d(ours)
    kwargs = description.arguments.setdefault("kwargs", {})
    kwargs["crop_size"] = None
    for key in [key for key in ours if key.endswith(".non_local.out.weight")]:  # it has no bias there
        ours.setdefault(key.replace("weight", "bias"), torch.zeros(ours[key].shape[0]))
    if any(non_local_blocks(ours)):
        embedded = any(".non_local.theta." in key for key in ours)
        kwargs |= {"instantiation": "softmax" if embedded else "gaussian", "non_local_pool_after": True}
        if any(".non_local_block.g.conv." in key for key in state):  # sub_sample=False
            kwargs["non_local_pool"] = [1, 1, 1]
    description.arguments |= {"clip_len": 8, "frame_stride": 8}
    description.assumed += ("clip_len", "frame_stride")
    description.notes.append(
        "clip_len and frame_stride: not in the file; 8 and 8 are assumed (some networks have 4 and 16)"
    )
    return with_prefix(ours), description


def _slowfast(state: State) -> tuple[dict[str, Tensor], Description]:
    """Renames SlowFast and reorders the classifier's columns: slow features come first here, fast ones there."""
    ours = rename(state, SLOWFAST)
    description = describe_slowfast(ours)
    if "fc.weight" in ours:
        fast = ours["fast.layer4.0.conv3.weight"].shape[0] if "fast.layer4.0.conv3.weight" in ours else 0
        ours["fc.weight"] = torch.cat([ours["fc.weight"][:, fast:], ours["fc.weight"][:, :fast]], dim=1)
    description.arguments |= {"slow_frames": "strided", "lateral_norm": "lateral.0.bn.weight" in ours}
    description.arguments.setdefault("kwargs", {})["crop_size"] = None
    return with_prefix(ours), description


def _video_resnet(ours: dict[str, Tensor]) -> tuple[dict[str, Tensor], Description]:
    name = same_network(ours, ["r2plus1d_34_mm", "ir_csn_152", "ip_csn_152", "ir_csn_50"], heads=("fc",))
    if not name:
        return with_prefix(ours), Description(method="clip3d", notes=["backbone: no network here has these shapes"])
    description = describe_clip_network(name, ours)
    description.arguments |= {"clip_len": VIDEO_RESNETS[name].frames, "frame_stride": 2}
    description.assumed += ("clip_len", "frame_stride")
    description.notes.append(
        "clip_len and frame_stride: not in the file; 32 and 2 are assumed (some R(2+1)D have 8 and 8)"
    )
    return with_prefix(ours), description


LAYOUT = Layout("mmaction2 (clips)", _recognises, _convert, read_name)
