"""Implements the Temporal Adaptive Module of TANet."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import (
    Direction,
    Spot,
    TemporalModule,
    correlate_in_time,
    mean_positions,
    over_positions,
)

TAPS = 3  # of a kernel


class TAM(TemporalModule):
    """Weighs frames by kernels over time that it makes from the clip itself (Liu et al. 2021, arXiv 2005.06803).

    A local branch makes a gate for every channel and frame, and a global one a kernel of three taps for every channel.
    The global branch mixes all frames, so its weights fit one number of frames only.

    With `shift: uni`, a form of this project, each frame has a kernel of its own, made from it and the frames before
    it, as many as the module was built for. All taps look at the frame itself and the two before it.

    widen: factor by which the global branch has more frames inside.
    squeeze: factor by which the local branch has fewer channels inside.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame.
    """

    spot: ClassVar[Spot] = "inner"
    takes_tokens: ClassVar[bool] = True
    any_length = False

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        widen: PositiveInt = 2,
        squeeze: PositiveInt = 4,
        shift: Direction = "bi",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        if channels < squeeze:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")
        self.window, self.causal = num_frames, shift == "uni"
        self.any_length = self.causal
        wide, narrow = num_frames * widen, channels // squeeze
        self.kernel = nn.Sequential(
            nn.Linear(num_frames, wide, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(inplace=True),
            nn.Linear(wide, TAPS, bias=False),
            nn.Softmax(-1),
        )
        self.gate = nn.Sequential(
            nn.Conv1d(channels, narrow, 3, padding=0 if self.causal else 1, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv1d(narrow, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weighs features (B*T, C, H, W) or tokens (B*T, ..., C), and keeps their shape."""
        clips = self.clips(x)
        if self.causal:
            return self.rows(self._from_the_past(clips))
        means = mean_positions(clips).transpose(1, 2)  # B, C, T
        taps = self.kernel(means.flatten(0, 1)).unflatten(0, means.shape[:2])  # B, C, 3
        gates = self.gate(means)  # of each frame, before it is weighed
        weights = (over_positions((tap[..., None] * gates).transpose(1, 2), clips) for tap in taps.unbind(-1))
        return self.rows(correlate_in_time(clips, *weights))

    def _from_the_past(self, clips: Tensor) -> Tensor:
        """Weighs clips (B, T, C, ...), each frame by what it and those before it show."""
        num_frames, past = clips.shape[1], max(self.window, TAPS) - 1
        means = self.with_past(mean_positions(clips), past)  # B, past + T, C
        first = past - self.window + 1
        windows = torch.stack([means[:, start : start + num_frames] for start in range(first, past + 1)], -1)
        kernels = self.kernel(windows.flatten(0, 2)).unflatten(0, windows.shape[:3])  # B, T, C, 3
        gates = self.gate(means[:, past - TAPS + 1 :].transpose(1, 2)).transpose(1, 2)
        gated = self.with_past(clips * over_positions(gates, clips), TAPS - 1)
        out = torch.zeros_like(clips)
        for place, tap in enumerate(kernels.unbind(-1)):
            out = out + gated[:, place : place + num_frames] * over_positions(tap, clips)
        return out
