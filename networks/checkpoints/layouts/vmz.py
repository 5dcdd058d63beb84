"""VMZ: R(2+1)D, channel-separated networks and MCx on torchvision's video ResNet, under torchvision's keys.

The ig65m-pytorch files of R(2+1)D-34 are of this layout too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Facts, Layout, State
from networks.checkpoints.layouts.identify import clip_facts, same_network, with_prefix
from networks.clip.factorised_resnet import VIDEO_RESNETS

NAMES = [name for name in VIDEO_RESNETS if not name.endswith(("_mm", "_vmz"))]


def _name(state: State) -> str:
    return same_network(state, NAMES, heads=("fc",)) if "stem.0.weight" in state else ""


def _recognises(state: State) -> bool:
    return bool(_name(state))


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Facts]:
    name = _name(state)
    facts = clip_facts(name, state)
    facts.arguments |= {"clip_len": VIDEO_RESNETS[name].frames}
    facts.assumed += ("clip_len",)
    facts.notes.append("clip_len: not in the file; VMZ publishes 8 and 32 frames of videos resampled to 15 per second")
    return with_prefix(state), facts


LAYOUT = Layout("VMZ", _recognises, _convert)
