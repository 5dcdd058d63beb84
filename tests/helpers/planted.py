"""A network whose scores are known, for tests of what is made of them: it sees how bright a clip is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from methods.base import Method
from tests.helpers.trained import TSN, write_checkpoint
from tools.inference import Recognizer, load


class Brightness(Method):
    """Says dark or bright, surer the darker or brighter a clip is."""

    averages_frames = True

    def __init__(self) -> None:
        super().__init__()
        self.name = "brightness"

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, 2)."""
        bright = clips.mean((1, 2, 3, 4))
        return torch.stack([-bright, bright], dim=1)


def brightness(folder: Path, **common: object) -> Recognizer:
    """Returns a trained network of three segments that knows dark from bright."""
    path = write_checkpoint(folder, TSN, class_names=["dark", "bright"], num_class=2, **common)
    return dataclasses.replace(load(path, device="cpu"), method=Brightness().eval())
