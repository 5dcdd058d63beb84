"""Refuses PyTorchVideo's detectors by name, whose heads score boxes around people instead of clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from utils.errors import CheckpointError


def _recognises(state: State) -> bool:
    return "detection_head.proj.weight" in state and any(key.startswith("model.blocks.") for key in state)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    raise CheckpointError("a detector, which scores boxes around people; the networks here classify whole clips")


LAYOUT = Layout("PyTorchVideo detection", _recognises, _convert)
