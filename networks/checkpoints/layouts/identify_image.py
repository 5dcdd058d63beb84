"""Identifies the image network and the classifier of a state dict under torchvision's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torchvision.models.resnet import Bottleneck

from networks.checkpoints.layouts.base import Description, State, add_modality
from networks.checkpoints.layouts.inceptions import about_pixels, inception_of, v3_arguments
from networks.image.mobilenet import STAGES, mobilenet_v2
from networks.image.resnet import DEPTHS

STEM = "features.0."
POOLED = "layer2.net."  # the stage after a temporal pool
BLOCK_SHIFT = re.compile(r"layer\d\.(?:net\.)?\d+\.(?:block\.)?net\.")
WRAPPED_BLOCK = re.compile(r"(layer\d\.\d+)\.block\.")
CLASSIFIER = re.compile(r"((?:(?:classifier|fc|heads?|last_linear)\.)+(?:(\d+)\.)?)weight")
# MIT's and tonylins' MobileNetV2 has the layers of a block in one flat list (convolution, norm, ReLU, ...);
# torchvision's groups them
_GROUPED = {  # whether the block expands -> place in the flat list -> place in the groups
    False: {"0": "0.0", "1": "0.1", "3": "1", "4": "2"},
    True: {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"},
}
_FLAT = re.compile(r"(features\.\d+\.conv)\.(\d+)\.(\w+)")
LAST_WIDTH = STAGES[-1][1]  # of MobileNetV2; all multiples of it by SCALES are whole
SCALES = [round(0.05 * step, 2) for step in range(2, 61)]  # width multipliers that a file may have


def counts(state: State, pattern: str) -> int:
    """Counts the values of the pattern's group at the beginning of keys, such as the blocks of a stage."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


OF_A_BLOCK = re.compile(r"(^|\.)(mlp|attn)\.")


def classifier_of(state: State) -> str:
    """Returns the prefix of the classifier, such as "fc."; "" if there is no classifier.

    It goes by the names that torchvision and timm give the classifier; among several, the highest number is the
    classifier, because the entries of a safetensors file are in alphabetical order. Without such a name it is the last
    entry, if that is a matrix or a 1x1 convolution with a bias, and no part of a transformer's block, with which
    networks end that classify nothing (DINOv2, SigLIP).
    """
    named = [match for key in state if (match := CLASSIFIER.fullmatch(key)) and state[key].dim() in (2, 4)]
    if named:
        return str(max(named, key=lambda match: int(match[2] or 0))[1])
    for key in reversed([*state]):
        value = state[key]
        if key.endswith(".weight") and value.dim() >= 2:
            if OF_A_BLOCK.search(key):
                return ""
            is_classifier = value.dim() == 2 or (value.shape[2:].numel() == 1 and f"{key[:-7]}.bias" in state)
            return key.removesuffix("weight") if is_classifier else ""
    return ""


def grouped(body: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Groups MobileNetV2's flat blocks as torchvision does; other networks and grouped blocks stay as they are."""
    expanded = {match[1] for key in body if (match := _FLAT.fullmatch(key)) and match[2] == "7"}
    flat = {match[1] for key in body if (match := _FLAT.fullmatch(key)) and match[2] == "0"}
    renamed = {}
    for key, value in body.items():
        if (match := _FLAT.fullmatch(key)) and match[1] in flat:
            place = _GROUPED[match[1] in expanded].get(match[2], match[2])
            key = f"{match[1]}.{place}.{match[3]}"
        renamed[key] = value
    return renamed


def describe_image_network(body: State, head: State, *, method: str = "") -> Description:
    """Describes a network by the weights of its body, an image network without classifier, and of its classifier."""
    description = Description(method=method)
    description.backbone, kwargs = _network(body)
    weight = next((value for key, value in head.items() if key.endswith("weight")), None)
    if weight is not None:
        description.arguments["num_class"] = int(weight.shape[0])
    add_modality(description, body)
    if inception_of(body):
        description.notes.append(about_pixels(description.arguments.get("modality", "rgb")))
    if kwargs:
        description.arguments["kwargs"] = kwargs
    return description


def _network(state: State) -> tuple[str, dict[str, Any]]:
    if name := inception_of(state):
        return name, v3_arguments(state)
    if "layer1.0.convs.0.weight" in state:
        return _res2net(state), {}
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        return _resnet(state)
    if "features.18.0.weight" in state and "features.1.conv.1.weight" in state:
        return _mobilenet_v2(state)
    return "", {}


def _resnet(state: State) -> tuple[str, dict[str, Any]]:
    """Finds the depth by the number of blocks, and groups and their width by the first 3x3 convolution."""
    blocks = [counts(state, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    bottleneck = "layer1.0.conv3.weight" in state
    for name, (block, depths) in DEPTHS.items():
        if depths == blocks and (block is Bottleneck) == bottleneck:
            if not bottleneck:
                return name, {}
            width, per_group = state["layer1.0.conv2.weight"].shape[:2]
            groups = width // per_group
            return name, {} if (groups, per_group) == (1, 64) else {"groups": groups, "width_per_group": per_group}
    return "", {}


def _res2net(state: State) -> str:
    """Finds timm's name by the number of blocks, and the width and the number of scales by their convolutions."""
    blocks = [counts(state, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    depth = next((name[6:] for name, (block, depths) in DEPTHS.items() if (block, depths) == (Bottleneck, blocks)), "")
    width, scales = state["layer1.0.convs.0.weight"].shape[0], counts(state, r"layer1\.0\.convs\.(\d+)\.") + 1
    return f"timm/res2net{depth}_{width}w_{scales}s" if depth else ""


def _mobilenet_v2(state: State) -> tuple[str, dict[str, Any]]:
    """Finds `t` by the first expanded block and the width multiplier by the last one, if they give all shapes."""
    expanded, entering = state["features.2.conv.0.0.weight"].shape[:2]
    t = expanded // entering
    last = state.get("features.17.conv.2.weight")
    scale = 0.0 if last is None else last.shape[0] / LAST_WIDTH
    if scale in SCALES:
        kernels = {key: value.shape for key, value in state.items() if value.dim() == 4 and not key.startswith(STEM)}
        shapes = _mobilenet_v2_shapes(t, scale)
        if all(shapes.get(key) == shape for key, shape in kernels.items()):
            changed = {"t": (t, 6), "scale": (scale, 1.0)}
            return "mobilenetv2", {key: value for key, (value, default) in changed.items() if value != default}
    return "mobilenetv2", {"t": t}


@cache
def _mobilenet_v2_shapes(t: int, scale: float) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: value.shape for key, value in mobilenet_v2(t=t, scale=scale).state_dict().items()}


def add_shift(description: Description, body: State) -> None:
    """Adds the shift and the temporal pool, as MIT and mmaction2 name them: `net` is the module that they wrap."""
    pooled = any(key.startswith(POOLED) for key in body)
    shifted = [key for key in body if ".net." in key.removeprefix(POOLED)]
    description.arguments["num_segments"] = 8
    description.assumed += ("num_segments",)
    if not shifted:
        description.method = "tsn"
        description.notes.append("num_segments: not in the file; the config sets it, and any number of frames fits")
        return
    description.method = "tsm"
    description.assumed += ("shift_div",)
    in_block = any(BLOCK_SHIFT.match(key) for key in shifted)
    description.arguments |= {"shift_div": 8, "shift_place": "block" if in_block else "blockres"}
    if pooled:
        description.arguments["temporal_pool"] = True
    description.notes.append(
        "num_segments, shift_div: not in the file; the config sets them (8 and 8 in most published networks)"
    )


def without_shift(key: str) -> str:
    """Returns the name that a module had before a shift, temporal pool or non-local block wrapped it."""
    return WRAPPED_BLOCK.sub(r"\1.", key.replace(".net.", "."))
