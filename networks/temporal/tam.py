"""Implements the Temporal Adaptive Module of TANet."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import Spot, TemporalModule, correlate_in_time, mean_positions, over_positions


class TAM(TemporalModule):
    """Weighs frames by kernels over time that it makes from the clip itself (Liu et al. 2021, arXiv 2005.06803).

    A local branch makes a gate for every channel and frame, and a global one a kernel of three taps for every channel.
    The global branch mixes all frames, so its weights fit one number of frames only.

    widen: how many times more frames the global branch has inside.
    squeeze: how many times fewer channels the local branch has inside.
    """

    spot: ClassVar[Spot] = "inner"
    takes_tokens: ClassVar[bool] = True
    any_length: ClassVar[bool] = False

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        widen: PositiveInt = 2,
        squeeze: PositiveInt = 4,
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        if channels < squeeze:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")
        wide, narrow = num_frames * widen, channels // squeeze
        self.kernel = nn.Sequential(
            nn.Linear(num_frames, wide, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(inplace=True),
            nn.Linear(wide, 3, bias=False),
            nn.Softmax(-1),
        )
        self.gate = nn.Sequential(
            nn.Conv1d(channels, narrow, 3, padding=1, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv1d(narrow, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weighs features (B*T, C, H, W) or tokens (B*T, ..., C), and keeps their shape."""
        clips = self.clips(x)
        means = mean_positions(clips).transpose(1, 2)  # B, C, T
        taps = self.kernel(means.flatten(0, 1)).unflatten(0, means.shape[:2])  # B, C, 3
        before, here, after = (over_positions(tap[:, None], clips) for tap in taps.unbind(-1))
        gated = clips * over_positions(self.gate(means).transpose(1, 2), clips)
        return self.rows(correlate_in_time(gated, before, here, after))
