"""Implements the gated shifts GSM and GSF."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from networks.temporal.module import (
    Direction,
    Spot,
    TemporalModule,
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
        whole = self.width == x.shape[1]  # the gradient of a part would be copied into one of all
        gated = self.clips(x if whole else x[:, : self.width])  # B, T, C, H, W
        gates = self._gates(gated)
        weights = self._weights(gated, gates)
        if self.stream is not None or torch.compiler.is_compiling() or torch.jit.is_tracing():
            mixed = self._mixed(gated, gates, weights)
        else:
            mixed = _Mix.apply(gated, gates, weights, (not self.causal, False))
        return replace_channels(x, _interleaved(mixed.transpose(1, 2)).transpose(1, 2).flatten(0, 1))

    def _mixed(self, gated: Tensor, gates: Tensor, weights: Tensor | None) -> Tensor:
        """Does what `_Mix` does, in operations that a compiler or a stream can follow."""
        halves = []
        for half, (given, gate) in enumerate(zip(gated.chunk(2, 2), gates.chunk(2, 2), strict=True)):
            passed = given * gate
            shifted, stayed = self._shifted(half, passed), given - passed
            if weights is None:
                halves.append(shifted + stayed)
            else:
                weight = weights.chunk(2, 2)[half]
                halves.append(torch.addcmul((1 - weight) * stayed, weight, shifted))
        return torch.cat(halves, 2)

    def _shifted(self, half: int, passed: Tensor) -> Tensor:
        """Moves values (B, T, ...) of a half of the channels by a frame; what comes in is zero."""
        if self.causal:
            return self.with_past(passed, 1)[:, :-1]
        none = torch.zeros_like(passed[:, :1])
        return torch.cat([passed[:, 1:], none] if half == 0 else [none, passed[:, :-1]], 1)

    def _gates(self, gated: Tensor) -> Tensor:
        """Returns the gates of both halves (B, T, 2, H, W) for clips (B, T, C, H, W).

        Each tap of the convolution along time answers for a frame by itself, then three answers are added up: on a CPU
        this takes less than half the time of a 3-D convolution, and a stream has to remember the answers only.
        """
        frames = self.bn(gated.transpose(1, 2)).relu_().transpose(1, 2).flatten(0, 1)
        weight = self.gate.weight.transpose(1, 2).flatten(0, 1)  # 2 * 3, C / 2, 3, 3
        taps = self.clips(_answers(frames, weight)).unflatten(2, (2, 3))
        if self.causal:
            seen = self.with_past(taps, 2)
            total = seen[:, :-2, :, 0] + seen[:, 1:-1, :, 1] + seen[:, 2:, :, 2]
        else:
            total = taps[:, :, :, 1].clone()
            total[:, 1:] += taps[:, :-1, :, 0]
            total[:, :-1] += taps[:, 1:, :, 2]
        assert self.gate.bias is not None
        # in the type of features: the bias, which mixed precision leaves alone, would make all of them float32
        return (total + self.gate.bias.view(2, 1, 1)).tanh().to(gated.dtype)

    def _weights(self, gated: Tensor, gates: Tensor) -> Tensor | None:
        """Returns how much of what came (B, T, C, 1, 1) is taken, and how little of what stayed; None: all of both."""
        return None


class GSF(GSM):
    """Weighs what a gate has shifted against what stayed (Sudhakaran et al. 2023, arXiv 2203.08897).

    It is GSM whose two parts are not added: a weight for each channel and frame chooses between them.

    share: share of the channels that are gated; the rest passes.
    shift: `bi`, or `uni` to read only from the past, as GSM; weights see a frame and the two before it too.
    """

    def _start(self) -> None:
        self.weigh = nn.ModuleList([nn.Conv2d(2, 1, 3, padding=(1, 0 if self.causal else 1)) for _ in range(2)])

    def _weights(self, gated: Tensor, gates: Tensor) -> Tensor:
        # sums over positions of all features and of what each gate lets through, in one reading of the features
        factors = torch.cat([torch.ones_like(gates[:, :, :1]), gates], 2).flatten(3) / gates[0, 0, 0].numel()
        means = (factors @ gated.flatten(3).mT).chunk(2, -1)  # B, T, 3, C/2
        weights = []
        for half, mean in enumerate(means):
            passed = mean[:, :, 1 + half]
            pair = torch.stack([self._shifted(half, passed), mean[:, :, 0] - passed], 1)  # B, 2, T, C/2
            seen = self.with_past(pair, 2, time=2) if self.causal else pair
            weights.append(self.weigh[half](seen.mT).sigmoid().squeeze(1).mT)
        return over_positions(torch.cat(weights, -1), gated).to(gated.dtype)


class _Mix(torch.autograd.Function):
    """Joins what gates let through, from the next or the previous frame, with what stayed.

    clips: (B, T, C, H, W). gates: (B, T, 2, H, W), for each half of the channels. weights: (B, T, C, 1, 1), how much of
        what came is taken, and how little of what stayed; None: all of both. earlier: whether a half moves to the frame
        before. The gradient is written down since autograd would make some twenty tensors of the size of clips.
    """

    @staticmethod
    def forward(ctx: Any, clips: Tensor, gates: Tensor, weights: Tensor | None, earlier: tuple[bool, bool]) -> Tensor:
        ctx.save_for_backward(clips, gates, weights)
        ctx.earlier = earlier
        out = torch.empty_like(clips)
        for given, gate, weight, into, to, source in _halves(earlier, clips, gates, weights, out):
            torch.mul(given, 1 - gate, out=into)
            if weight is None:
                into[:, to].addcmul_(given[:, source], gate[:, source])
            else:
                into.mul_(1 - weight)[:, to].addcmul_(given[:, source] * gate[:, source], weight[:, to])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        clips, gates, weights = ctx.saved_tensors
        grad = torch.empty_like(clips).copy_(grad)
        found = [None if one is None else torch.empty_like(one) for one in (clips, gates, weights)]
        for given, gate, weight, seen, to_given, to_gate, to_weight, to, source in _halves(
            ctx.earlier, clips, gates, weights, grad, *found
        ):
            stayed = seen if weight is None else torch.mul(seen, 1 - weight, out=to_given)
            passed = stayed.neg()
            if weight is None:
                passed[:, source] += seen[:, to]
            else:
                passed[:, source].addcmul_(seen[:, to], weight[:, to])
            torch.addcmul(stayed, passed, gate, out=to_given)
            torch.sum(passed.mul_(given), 2, keepdim=True, out=to_gate)
            if weight is not None:
                gain = torch.mul(given, gate - 1, out=passed)
                gain[:, to].addcmul_(given[:, source], gate[:, source])
                torch.sum(gain.mul_(seen), (3, 4), keepdim=True, out=to_weight)
        return (*found, None)


def _halves(earlier: tuple[bool, bool], *given: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Yields a half of everything, which frames get something from another, and from which ones."""
    first, last = slice(None, -1), slice(1, None)
    for half in range(2):
        parts = [None if one is None else one.chunk(2, 2)[half] for one in given]
        yield *parts, *((first, last) if earlier[half] else (last, first))


def _answers(frames: Tensor, weight: Tensor) -> Tensor:
    """Convolves frames with a 3 x 3 kernel (6, C / 2, 3, 3) in two groups, at padding 1.

    For float32 on a CPU, where torch is slow with as few outputs, each tap is a matrix product, and they are added up.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or frames.device.type != "cpu" or frames.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return F.conv2d(frames, weight, padding=1, groups=2)
    taps = weight.flip(2, 3).unflatten(0, (2, -1)).movedim(2, -1).flatten(1, -2)  # 2, 3 * 9, C / 2
    rows = frames.movedim(1, -1).flatten(1, 2).chunk(2, -1)  # N, H * W, C / 2
    if torch.is_grad_enabled():
        found = torch.cat([row @ tap.T for row, tap in zip(rows, taps, strict=True)], -1).mT
    else:
        found = torch.cat([tap @ row.mT for row, tap in zip(rows, taps, strict=True)], 1)
    return F.fold(found, frames.shape[2:], 3, padding=1)


def _interleaved(clips: Tensor) -> Tensor:
    """Puts channels of the first and of the second part of each half of (B, C, T, H, W) in turn."""
    if clips.stride(1) == 1:  # channels are innermost, and stay so in one copy
        return clips.movedim(1, -1).unflatten(-1, (2, 2, -1)).mT.flatten(-3).movedim(-1, 1)
    return clips.unflatten(1, (2, 2, -1)).transpose(2, 3).flatten(1, 3)
