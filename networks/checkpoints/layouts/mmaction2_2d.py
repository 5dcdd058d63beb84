"""Translates mmaction2's networks over frames: TSN and TSM on its own backbones or on those of torchvision and timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_resnet3d, with_prefix
from networks.checkpoints.layouts.identify_image import (
    WRAPPED_BLOCK,
    counts,
    without_shift,
)
from networks.checkpoints.layouts.mmaction2_config import FileConfig, follow, read_meta
from networks.checkpoints.layouts.neck import add_neck, take_neck
from networks.checkpoints.layouts.relations import take_relations
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.checkpoints.layouts.temporal_modules import describe_frame_network, entries_of, rename_temporal
from utils.errors import CheckpointError

BODY, HEADS = "backbone.", ("cls_head.fc_cls.", "cls_head.new_fc.")  # the second is that of MVFNet, made from mmaction
BLOCK = r"(layer\d\.\d+)"
# one module there holds a convolution and its norm
RESNET: list[Rule] = [
    (r"conv1\.conv\.(.+)", r"conv1.\1"),
    (r"conv1\.bn\.(.+)", r"bn1.\1"),
    (rf"{BLOCK}\.conv(\d)\.conv\.(.+)", r"\1.conv\2.\3"),
    (rf"{BLOCK}\.conv(\d)\.bn\.(.+)", r"\1.bn\2.\3"),
    (rf"{BLOCK}\.downsample\.conv\.(.+)", r"\1.downsample.0.\2"),
    (rf"{BLOCK}\.downsample\.bn\.(.+)", r"\1.downsample.1.\2"),
    (rf"{BLOCK}\.non_local_block\.(theta|phi|g)(?:\.0)?\.conv\.(.+)", r"\1.non_local.\2.\3"),
    (rf"{BLOCK}\.non_local_block\.conv_out\.conv\.(.+)", r"\1.non_local.out.\2"),
    (rf"{BLOCK}\.non_local_block\.conv_out\.bn\.(.+)", r"\1.non_local.bn.\2"),
]


def _recognises(state: State) -> bool:
    stem = next((value for key, value in state.items() if key.startswith(BODY) and value.dim() >= 4), None)
    return stem is not None and stem.dim() == 4 and any(key.startswith("cls_head.") for key in state)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    body = {key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)}
    head = {key.rpartition(".")[2]: value for key, value in state.items() if key.startswith(HEADS)}
    relations, head, state = take_relations(state, head)
    neck, state = take_neck(state)
    temporal, named = rename_temporal({WRAPPED_BLOCK.sub(r"\1.", key): value for key, value in body.items()})
    plain = {without_shift(key): value for key, value in named.items()}
    if "conv2.conv.weight" in plain:
        plain = rename(plain, _mobilenet_v2(plain))
    elif "conv1.conv.weight" in plain:
        plain = rename(plain, RESNET)
    description = describe_frame_network(plain, body, head, temporal, relations)
    _complete_non_local(plain, description, body)
    config = read_meta(others, description)
    if config is not None:
        if (
            not (temporal or relations or neck)
            and (config.sees_one_window or config.type == "C2D")
            and (clip := _as_clip_network(plain, head, description, config))
        ):
            follow(config, clip[1], clip[0])
            return clip
        follow(config, description, plain)
    if neck:
        add_neck(description, None if config is None else config.whole)
    rest = {key: value for key, value in state.items() if not key.startswith((BODY, *HEADS))}
    return {**entries_of(plain, relations, head), **neck, **rest}, description


def _mobilenet_v2(state: State) -> list[Rule]:
    """Makes rules for MobileNetV2, whose seven stages become features.1 to features.17, between stem and end."""
    rules: list[Rule] = [(r"conv1\.conv\.(.+)", r"features.0.0.\1"), (r"conv1\.bn\.(.+)", r"features.0.1.\1")]
    number = 1
    for stage in range(1, 8):
        for block in range(counts(state, rf"layer{stage}\.(\d+)\.")):
            theirs, ours = rf"layer{stage}\.{block}\.conv", f"features.{number}.conv"
            last = counts(state, rf"{theirs}\.(\d+)\.") - 1
            rules += [
                # the last convolution has no ReLU, so torchvision does not group it with its norm
                (rf"{theirs}\.{last}\.conv\.(.+)", rf"{ours}.{last}.\1"),
                (rf"{theirs}\.{last}\.bn\.(.+)", rf"{ours}.{last + 1}.\1"),
                (rf"{theirs}\.(\d+)\.conv\.(.+)", rf"{ours}.\1.0.\2"),
                (rf"{theirs}\.(\d+)\.bn\.(.+)", rf"{ours}.\1.1.\2"),
            ]
            number += 1
    last_one = f"features.{number}"
    return [*rules, (r"conv2\.conv\.(.+)", rf"{last_one}.0.\1"), (r"conv2\.bn\.(.+)", rf"{last_one}.1.\1")]


def _as_clip_network(
    body: State, head: State, description: Description, config: FileConfig
) -> tuple[dict[str, Tensor], Description] | None:
    """Describes a ResNet without shift over consecutive frames as C2D; None if no network here fits."""
    network = {key: value.unsqueeze(2) if value.dim() == 4 else value for key, value in body.items()}
    network |= {f"fc.{key}": value for key, value in head.items()}
    kind = "c2d" if config.type == "C2D" else "c2d_nopool"
    found = describe_resnet3d(network, prefer=kind) if description.method == "tsn" else Description()
    if not found.backbone:
        return None
    found.arguments |= {"kwargs": {**found.arguments.get("kwargs", {}), "crop_size": None}}
    found.class_names = description.class_names
    return with_prefix(network), found


def _complete_non_local(plain: dict[str, Tensor], description: Description, body: State) -> None:
    """Adds zeros as biases of the non-local blocks' last convolutions, and their variant as far as it shows."""
    if any(".non_local_block.g.conv." in key for key in body):
        raise CheckpointError("its non-local blocks see every position (sub_sample=False), which no network here does")
    found = [key for key in plain if key.endswith(".non_local.out.weight")]
    for key in found:
        plain[key.replace("weight", "bias")] = torch.zeros(plain[key].shape[0])
    if found and description.method == "tsm":
        embedded = any(".non_local.theta." in key for key in plain)
        description.arguments["non_local"] = True if embedded else "gaussian"
        if embedded:
            description.assumed += ("non_local",)
            description.notes.append(
                "non_local: embedded_gaussian and dot_product look alike in the file; the config sets which one it is"
            )


LAYOUT = Layout("mmaction2 (frames)", _recognises, _convert)
