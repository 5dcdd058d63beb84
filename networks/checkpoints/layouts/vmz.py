"""Reads VMZ's R(2+1)D, channel-separated networks and MCx, which have the keys of torchvision's video ResNet.

The files of ig65m-pytorch for R(2+1)D-34 have this layout too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, same_network, with_prefix
from networks.clip.factorised_resnet import VIDEO_RESNETS

NAMES = [name for name in VIDEO_RESNETS if not name.endswith(("_mm", "_vmz"))]


def _name(state: State) -> str:
    return same_network(state, NAMES, heads=("fc",)) if "stem.0.weight" in state else ""


def _recognises(state: State) -> bool:
    return bool(_name(state))


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    name = _name(state)
    description = describe_clip_network(name, state)
    description.arguments |= {"clip_len": VIDEO_RESNETS[name].frames}
    description.assumed += ("clip_len",)
    description.notes.append(
        "clip_len: not in the file; VMZ publishes networks for 8 and 32 frames, of videos at 15 frames per second"
    )
    return with_prefix(state), description


LAYOUT = Layout("VMZ", _recognises, _convert)
