"""Implements the gated shifts GSM and GSF."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from networks.temporal.module import (
    Direction,
    Spot,
    TemporalModule,
    correlate_in_time,
    mean_positions,
    over_positions,
    replace_channels,
)


class GSM(TemporalModule):
    """Shifts the part of each feature that a gate lets through (Sudhakaran et al. 2020, arXiv 1912.00381).

    One gate decides for each half of the channels, at each place. What passes is shifted, in the first half to the
    frame before and in the second to the next one, and added to what stayed. It starts as TSN, but for the order of
    channels.

    With `shift: uni`, a form of this project, both halves are shifted to the next frame, and gates see a frame and the
    two before it.

    share: share of the channels that are gated; the rest passes.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame.
    """

    spot: ClassVar[Spot] = "end"

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        share: Annotated[float, Field(gt=0, le=1)] = 1.0,
        shift: Direction = "bi",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        self.width = math.ceil(channels * share / 2) * 2
        if self.width % 4 or not self.width:
            raise ValueError(f"share: {self.width} of {channels} channels cannot be shared by two halves of two parts")
        self.causal = shift == "uni"
        self.bn = nn.BatchNorm3d(self.width)
        self.gate = nn.Conv3d(self.width, 2, 3, padding=1, groups=2)  # `_gates` computes it
        self._start()

    def _start(self) -> None:
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        gated = self.clips(x[:, : self.width]).transpose(1, 2)  # B, C, T, H, W
        gates = self._gates(gated)  # B, 2, T, H, W
        halves = [
            self._moved(index, half, gates[:, index : index + 1]) for index, half in enumerate(gated.chunk(2, dim=1))
        ]
        return replace_channels(x, _interleaved(torch.cat(halves, dim=1)).transpose(1, 2).flatten(0, 1))

    def _moved(self, half: int, given: Tensor, gate: Tensor) -> Tensor:
        """Shifts what the gate (B, 1, T, H, W) lets through of a half (B, C/2, T, H, W) of the channels."""
        if self.causal or type(self) is not GSM:
            passed = given * gate
            return self._joined(half, self._shifted(half, passed), given - passed)
        gate = gate.transpose(1, 2)
        weights = (None, 1 - gate, gate) if half == 0 else (gate, 1 - gate, None)
        return correlate_in_time(given.transpose(1, 2), *weights).transpose(1, 2)

    def _shifted(self, half: int, passed: Tensor) -> Tensor:
        if self.causal:
            return self.with_past(passed, 1, time=2)[:, :, :-1]
        return _shifted(passed, earlier=half == 0)

    def _gates(self, gated: Tensor) -> Tensor:
        """Returns the gates of both halves (B, 2, T, H, W) for clips (B, C, T, H, W).

        Each tap of the convolution along time answers for a frame by itself, then three answers are added up: on a CPU
        this takes less than half the time of a 3-D convolution, and a stream has to remember the answers only.
        """
        frames = self.bn(gated).relu().transpose(1, 2).flatten(0, 1)
        weight = self.gate.weight.transpose(1, 2).flatten(0, 1)  # 2 * 3, C / 2, 3, 3
        taps = self.clips(F.conv2d(frames, weight, padding=1, groups=2)).unflatten(2, (2, 3))
        if self.causal:
            seen = self.with_past(taps, 2)
            total = seen[:, :-2, :, 0] + seen[:, 1:-1, :, 1] + seen[:, 2:, :, 2]
        else:
            total = taps[:, :, :, 1].clone()
            total[:, 1:] += taps[:, :-1, :, 0]
            total[:, :-1] += taps[:, 1:, :, 2]
        assert self.gate.bias is not None
        # in the type of features: the bias, which mixed precision leaves alone, would make all of them float32
        return (total + self.gate.bias.view(2, 1, 1)).tanh().to(gated.dtype).transpose(1, 2)

    def _joined(self, half: int, shifted: Tensor, stayed: Tensor) -> Tensor:
        return shifted + stayed


class GSF(GSM):
    """Weighs what a gate has shifted against what stayed (Sudhakaran et al. 2023, arXiv 2203.08897).

    It is GSM whose two parts are not added: a weight for each channel and frame chooses between them.

    share: share of the channels that are gated; the rest passes.
    shift: `bi`, or `uni` to read only from the past, as GSM; weights see a frame and the two before it too.
    """

    def _start(self) -> None:
        self.weigh = nn.ModuleList([nn.Conv2d(2, 1, 3, padding=(1, 0 if self.causal else 1)) for _ in range(2)])

    def _joined(self, half: int, shifted: Tensor, stayed: Tensor) -> Tensor:
        # channels stay innermost in memory, of means and of weights: otherwise all that they meet would be copied
        means = torch.stack([mean_positions(part.transpose(1, 2)) for part in (shifted, stayed)], 1)  # B, 2, T, C/2
        seen = self.with_past(means, 2, time=2) if self.causal else means
        weights = self.weigh[half](seen.mT).sigmoid().squeeze(1).mT  # B, T, C/2
        weights = over_positions(weights, shifted).transpose(1, 2).to(shifted.dtype)  # B, C/2, T, 1, 1
        return torch.addcmul((1 - weights) * stayed, weights, shifted)


def _shifted(clips: Tensor, *, earlier: bool) -> Tensor:
    """Moves clips (B, C, T, H, W) by a frame; what comes in is zero."""
    none = torch.zeros_like(clips[:, :, :1])
    return torch.cat([clips[:, :, 1:], none] if earlier else [none, clips[:, :, :-1]], dim=2)


def _interleaved(clips: Tensor) -> Tensor:
    """Puts channels of the first and of the second part of each half of (B, C, T, H, W) in turn."""
    if clips.stride(1) == 1:  # channels are innermost, and stay so in one copy
        return clips.movedim(1, -1).unflatten(-1, (2, 2, -1)).mT.flatten(-3).movedim(-1, 1)
    return clips.unflatten(1, (2, 2, -1)).transpose(2, 3).flatten(1, 3)
