"""Channels-last memory for networks that may hold 2-D and 3-D convolutions at once."""

from __future__ import annotations

import torch
from torch import nn

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def to_channels_last(module: nn.Module) -> None:
    """Lays every 4-D and 5-D parameter out with its channels innermost, in place; values stay."""
    for parameter in module.parameters():
        if parameter.dim() in FORMATS:
            parameter.data = parameter.data.contiguous(memory_format=FORMATS[parameter.dim()])
