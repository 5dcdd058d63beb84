"""Reads 3D-ResNets-PyTorch (Hara et al. 2018): 3x3x3 ResNets under the keys of torchvision's image ResNet, as here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import blocks_of, describe_clip_network, with_prefix
from networks.clip.resnet3d_333 import DEPTHS


def _recognises(state: State) -> bool:
    stem, inside = state.get("conv1.weight"), state.get("layer1.0.conv2.weight")
    return stem is not None and inside is not None and stem.ndim == 5 and tuple(inside.shape[2:]) == (3, 3, 3)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    found = ("layer1.0.conv3.weight" in state, blocks_of(state))
    depth = next((depth for depth, known in DEPTHS.items() if known == found), None)
    if depth is None:
        notes = [f"backbone: {found[1]} blocks per stage, which no ResNet here has"]
        return with_prefix(state), Description(method="clip3d", notes=notes)
    description = describe_clip_network(f"resnet{depth}_3d", state)
    shortcut = "B" if "layer2.0.downsample.0.weight" in state else "A"
    description.arguments |= {"clip_len": 16, "kwargs": {"shortcut_type": shortcut}}
    description.assumed += ("clip_len",)
    description.notes.append("clip_len (sample_duration): not in the file; 16 is assumed")
    return with_prefix(state), description


LAYOUT = Layout("3D-ResNets-PyTorch", _recognises, _convert)
