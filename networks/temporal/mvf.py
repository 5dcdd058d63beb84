"""Implements the Multi-View Fusion module of MVFNet."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import Direction, TemporalModule, replace_channels


class MVF(TemporalModule):
    """Adds up views of some channels along time, height and width (Wu et al. 2021, arXiv 2012.06977).

    Each view is a convolution of three taps, channel by channel. By default it sits in the last two stages of a ResNet.

    div: 1/div of the channels are fused, the rest passes.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame: the view along
        time sees the frame and the two before it. That form is this project's own.
    """

    stages: ClassVar[tuple[str, ...]] = ("layer3", "layer4")

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        div: PositiveInt = 8,
        shift: Direction = "bi",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        self.width = channels // div
        if not self.width:
            raise ValueError(f"div: {div} is more than the {channels} channels of a branch")

        self.causal = shift == "uni"

        def view(kernel: tuple[int, int, int], padding: str = "same") -> nn.Conv3d:
            return nn.Conv3d(self.width, self.width, kernel, padding=padding, groups=self.width, bias=False)

        self.time = view((3, 1, 1), "valid" if self.causal else "same")
        self.height, self.row = view((1, 3, 1)), view((1, 1, 3))
        self.bn = nn.BatchNorm3d(self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        part = self.clips(x[:, : self.width]).transpose(1, 2)  # B, c, T, H, W
        seen = self.with_past(part, 2, time=2) if self.causal else part
        fused = F.hardswish(self.bn(self.time(seen) + self.height(part) + self.row(part)))
        return replace_channels(x, fused.transpose(1, 2).flatten(0, 1))
