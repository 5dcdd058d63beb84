"""The temporal shift, its one-directional and streaming forms, and the temporal pool.

Where a shift goes in an image network is decided in residual_branches.py; which method uses it, in methods/tsm.py.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# which way in time the moved channels come from: the next frame (-1), then the one before (1)
DIRECTIONS: dict[str, tuple[int, ...]] = {"bi": (-1, 1), "uni": (1,)}

_WORDS = {16: torch.complex128, 8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}  # by bytes


def temporal_shift(x: Tensor, num_frames: int, *, fold: int, direction: str = "bi", channel_dim: int = 1) -> Tensor:
    """Moves channels along time (Lin et al. 2019, arXiv 1811.08383, sec. 3).

    x: (B*T, ...), a clip's frames in a row, its channels at `channel_dim`: 1 for maps (B*T, C, H, W), -1 for tokens.
    fold: channels that move each way. `bi`: channels [0, fold) read the next frame, [fold, 2 fold) the one before.
        `uni`: [0, fold) read the frame before, nothing reads the future. What lies outside of the clip reads as zero.

    Returns a tensor of the same shape and memory format.
    """
    if fold == 0:  # fewer channels than one for each share
        return x
    channel_dim %= x.dim()
    if x.dim() == 4 and channel_dim == 1 and _is_channels_last(x):
        # cut where memory is contiguous: faster, and the pieces come back in the layout they went in with
        moved = temporal_shift(x.permute(0, 2, 3, 1), num_frames, fold=fold, direction=direction, channel_dim=3)
        return moved.permute(0, 3, 1, 2)
    rows = x.flatten(channel_dim).unflatten(0, (-1, num_frames))  # B, T, ..., what belongs to C * the axes behind it
    part = fold * x.shape[channel_dim + 1 :].numel()
    shift = _shift_for_compilers if torch.compiler.is_compiling() or torch.jit.is_tracing() else _Shift.apply
    return shift(rows, part, DIRECTIONS[direction]).view(x.shape)


def _shift_for_compilers(rows: Tensor, part: int, steps: tuple[int, ...]) -> Tensor:
    """(B, T, ..., C) -> the same shape, in operations that can be exported and fused.

    The first `part` entries of the last axis move `steps[0]` frames later, the next ones `steps[1]`, the rest stays.
    """
    *moving, rest = rows.split([*(part for _ in steps), rows.shape[-1] - part * len(steps)], dim=-1)
    # padding by a negative number cuts: (-1, 1) drops the first frame and appends zeros, which is the next frame's view
    still = (0, 0) * (rows.dim() - 2)
    moved = [F.pad(piece, (*still, step, -step)) for piece, step in zip(moving, steps, strict=True)]
    return torch.cat([*moved, rest], dim=-1)


class _Shift(torch.autograd.Function):
    """The same where each operation runs by itself: one copy of everything, and the moved parts over it.

    Moved in words of up to 16 bytes, since a GPU copies pieces of rows two bytes at a time else, at a third of its
    speed; and with a backward of its own, which is the same shift the other way.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, part: int, steps: tuple[int, ...]) -> Tensor:
        ctx.part, ctx.steps = part, steps
        rows = rows.contiguous()
        out = rows.clone()
        lengths = [count * rows.element_size() for count in (part, rows.shape[-1], rows.storage_offset())]
        widest = 8 if rows.device.type == "mps" else 16  # Apple's GPUs have no double precision, to copy as neither
        size = next(size for size in _WORDS if size <= widest and not any(length % size for length in lengths))
        source, target, width = rows.view(_WORDS[size]), out.view(_WORDS[size]), lengths[0] // size
        for place, step in enumerate(steps):
            columns = slice(place * width, (place + 1) * width)
            source_part, target_part = source[..., columns], target[..., columns]
            later, earlier = slice(1, None), slice(None, -1)
            target_part[:, later if step > 0 else earlier] = source_part[:, earlier if step > 0 else later]
            target_part[:, 0 if step > 0 else -1] = 0
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Shift.apply(grad, ctx.part, tuple(-step for step in ctx.steps)), None, None


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class TemporalShift(nn.Module):
    """The shift as a part of a network; it owns no parameters, so keys stay those of the network it sits in.

    num_frames: T of the clips that run now; the method sets it.
    """

    def __init__(self, *, shift_div: int, direction: str, channel_dim: int = 1) -> None:
        super().__init__()
        self.shift_div, self.direction, self.channel_dim = shift_div, direction, channel_dim
        self.num_frames = 1
        self.stream: Stream | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, ...) -> the same shape; with a stream, (B, ...)."""
        fold = x.shape[self.channel_dim] // self.shift_div
        if self.stream is not None:
            return self.stream.shift(x, fold, self.channel_dim)
        return temporal_shift(x, self.num_frames, fold=fold, direction=self.direction, channel_dim=self.channel_dim)

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"1/{self.shift_div}, {self.direction}"


class Stream:
    """The memory of a one-directional network that sees one frame per step: what each shift moves to the next frame.

    before: what the step before left, in the order in which the shifts run; empty at the first step, which reads zeros.
    now: what this step leaves.
    """

    def __init__(self, before: list[Tensor]) -> None:
        self.before = before
        self.now: list[Tensor] = []

    def shift(self, x: Tensor, fold: int, channel_dim: int) -> Tensor:
        """(B, ...), one frame per clip -> the same shape."""
        moving, rest = x.split([fold, x.shape[channel_dim] - fold], dim=channel_dim)
        past = self.before[len(self.now)] if self.before else torch.zeros_like(moving)
        self.now.append(moving)
        return torch.cat([past, rest], dim=channel_dim)


class TemporalPool(nn.Module):
    """Halves the frame rate inside a network: max over 3 frames at stride 2 (TSM's code, option temporal_pool)."""

    def __init__(self) -> None:
        super().__init__()
        self.num_frames = 1

    def forward(self, x: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*ceil(T/2), C, H, W)."""
        clips = x.unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # B, C, T, H, W
        pooled = F.max_pool3d(clips, kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        return pooled.transpose(1, 2).flatten(0, 1)


def pooled_length(num_frames: int) -> int:
    """Frames that TemporalPool leaves."""
    return (num_frames + 1) // 2
