"""Which image network a state dict under torchvision's names belongs to, and where its classifier stands."""

from __future__ import annotations

import re
from typing import Any

import torch
from torchvision.models.resnet import Bottleneck

from networks.checkpoints.layouts.base import Facts, State, modality_facts
from networks.image.mobilenet import mobilenet_v2
from networks.image.resnet import DEPTHS

STEM = "features.0."
POOLED = "layer2.net."  # the stage behind a temporal pool
BLOCK_SHIFT = re.compile(r"layer\d\.(?:net\.)?\d+\.(?:block\.)?net\.")
WRAPPED_BLOCK = re.compile(r"(layer\d\.\d+)\.block\.")
CLASSIFIER = re.compile(r"((?:(?:classifier|fc|heads?|last_linear)\.)+(?:(\d+)\.)?)weight")
SCALES = [round(0.05 * step, 2) for step in range(2, 61)]  # width multipliers that a file may have been made with


def counts(state: State, pattern: str) -> int:
    """How many values the pattern's group takes at the beginning of keys: the blocks of a stage."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def classifier_of(state: State) -> str:
    """The prefix of the last layer, "fc."; or "".

    By the names that torchvision and timm give it, of several the highest number (a safetensors file has its entries by
    alphabet, not in the network's order); else the last entry that is a matrix or a 1x1 convolution with a bias.
    """
    named = [match for key in state if (match := CLASSIFIER.fullmatch(key)) and state[key].dim() in (2, 4)]
    if named:
        return str(max(named, key=lambda match: int(match[2] or 0))[1])
    for key in reversed([*state]):
        value = state[key]
        if key.endswith(".weight") and value.dim() >= 2:
            is_classifier = value.dim() == 2 or (value.shape[2:].numel() == 1 and f"{key[:-7]}.bias" in state)
            return key.removesuffix("weight") if is_classifier else ""
    return ""


def image_facts(body: State, head: State, *, method: str = "") -> Facts:
    """Facts from the weights of an image network (`body`, without classifier) and of the classifier (`head`)."""
    facts = Facts(method=method)
    facts.backbone, kwargs = _network(body)
    weight = next((value for key, value in head.items() if key.endswith("weight")), None)
    if weight is not None:
        facts.arguments["num_class"] = int(weight.shape[0])
    modality_facts(facts, body)
    if kwargs:
        facts.arguments["kwargs"] = kwargs
    return facts


def _network(state: State) -> tuple[str, dict[str, Any]]:
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        return _resnet(state)
    if "features.18.0.weight" in state and "features.1.conv.1.weight" in state:
        return _mobilenet_v2(state)
    return "", {}


def _resnet(state: State) -> tuple[str, dict[str, Any]]:
    """Depth from the number of blocks; groups and their width (ResNeXt, wide ResNet) from the first 3x3 convolution."""
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


def _mobilenet_v2(state: State) -> tuple[str, dict[str, Any]]:
    """`t` from the first expanded block, the width from the one multiplier that gives all of its shapes."""
    expanded, entering = state["features.2.conv.0.0.weight"].shape[:2]
    t = expanded // entering
    for scale in sorted(SCALES, key=lambda value: value != 1.0):
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in mobilenet_v2(t=t, scale=scale).state_dict().items()}
        kernels = {key: value.shape for key, value in state.items() if value.dim() == 4 and not key.startswith(STEM)}
        if all(shapes.get(key) == shape for key, shape in kernels.items()):
            changed = {"t": (t, 6), "scale": (scale, 1.0)}
            return "mobilenetv2", {key: value for key, (value, default) in changed.items() if value != default}
    return "mobilenetv2", {"t": t}


def shift_facts(facts: Facts, body: State) -> None:
    """What the names of MIT's and mmaction2's modules tell: `net` is what stands behind a shift or a temporal pool."""
    pooled = any(key.startswith(POOLED) for key in body)
    shifted = [key for key in body if ".net." in key.removeprefix(POOLED)]
    facts.arguments["num_segments"] = 8
    facts.assumed += ("num_segments",)
    if not shifted:
        facts.method = "tsn"
        facts.notes.append("num_segments: not in the file; the config says it, and any number of frames fits")
        return
    facts.method = "tsm"
    facts.assumed += ("shift_div",)
    in_block = any(BLOCK_SHIFT.match(key) for key in shifted)
    facts.arguments |= {"shift_div": 8, "shift_place": "block" if in_block else "blockres"}
    if pooled:
        facts.arguments["temporal_pool"] = True
    facts.notes.append("num_segments, shift_div: not in the file; the config says them (8, 8 in most published ones)")


def without_shift(key: str) -> str:
    """A name as it was before shifts, temporal pools and non-local blocks wrapped modules of the network."""
    return WRAPPED_BLOCK.sub(r"\1.", key.replace(".net.", "."))
