"""Implements the temporal shift, its one-directional form, and the temporal pool.

networks/temporal/insert.py puts a shift into an image network; methods/tsm.py is the method that uses it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.temporal.module import Direction, Stream, TemporalModule

Place = Literal["blockres", "block"]
# how many frames later each share of channels moves: -1 reads the next frame, 1 reads the frame before
DIRECTIONS: dict[Direction, tuple[int, ...]] = {"bi": (-1, 1), "uni": (1,)}

_WORDS = {16: torch.complex128, 8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}  # by size in bytes


def temporal_shift(
    x: Tensor, num_frames: int, *, fold: int, direction: Direction = "bi", channel_dim: int = 1
) -> Tensor:
    """Moves channels along time (Lin et al. 2019, arXiv 1811.08383, sec. 3).

    x: features (B*T, ...), the frames of a clip in a row.
    fold: number of channels that move each way.
    direction: with `bi`, channels [0, fold) read the next frame and channels [fold, 2 fold) the frame before. With
        `uni`, channels [0, fold) read the frame before, and nothing reads the future. Frames outside of the clip are 0.
    channel_dim: axis of the channels, 1 in maps (B*T, C, H, W), -1 in tokens.

    Returns a tensor of the same shape and memory format.
    """
    if fold == 0:  # too few channels to move even one
        return x
    channel_dim %= x.dim()
    if (
        x.dim() == 4
        and channel_dim == 1
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    ):
        # cut along the axis that is contiguous in memory: it is faster, and the result keeps the memory layout
        moved = temporal_shift(x.permute(0, 2, 3, 1), num_frames, fold=fold, direction=direction, channel_dim=3)
        return moved.permute(0, 3, 1, 2)
    rows = x.flatten(channel_dim).unflatten(0, (-1, num_frames))  # B, T, ..., C * the axes behind it
    part = fold * x.shape[channel_dim + 1 :].numel()
    shift = _shift_for_compilers if torch.compiler.is_compiling() or torch.jit.is_tracing() else _Shift.apply
    return shift(rows, part, DIRECTIONS[direction]).view(x.shape)


def call_before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Passes what a module gets through its temporal part: a forward hook."""
    return module.temporal(inputs[0]), *inputs[1:]  # type: ignore[operator]


def call_behind(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Passes what a module answers through its temporal part: a forward hook."""
    changed: Tensor = module.temporal(output)  # type: ignore[operator]
    return changed


def _shift_for_compilers(rows: Tensor, part: int, steps: tuple[int, ...]) -> Tensor:
    """Shifts rows (B, T, ..., C), keeping the shape, with operations that can be exported and fused.

    The first `part` entries of the last axis move `steps[0]` frames later, the next `part` ones `steps[1]` frames, and
    the rest stays.
    """
    *moving, rest = rows.split([*(part for _ in steps), rows.shape[-1] - part * len(steps)], dim=-1)
    # negative padding cuts: (-1, 1) drops the first frame and appends zeros, so every frame reads the next one
    still = (0, 0) * (rows.dim() - 2)
    moved = [F.pad(piece, (*still, step, -step)) for piece, step in zip(moving, steps, strict=True)]
    return torch.cat([*moved, rest], dim=-1)


class _Shift(torch.autograd.Function):
    """Shifts rows in eager mode: copies everything once and writes the moved parts over the copy.

    It moves words of up to 16 bytes, because a GPU copies pieces of rows two bytes at a time otherwise, at a third of
    its speed. The backward pass is the same shift in the other direction.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, part: int, steps: tuple[int, ...]) -> Tensor:
        ctx.part, ctx.steps = part, steps
        rows = rows.contiguous()
        out = rows.clone()
        lengths = [count * rows.element_size() for count in (part, rows.shape[-1], rows.storage_offset())]
        widest = 8 if rows.device.type == "mps" else 16  # Apple's GPUs have no double precision, hence no complex128
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


class TemporalShift(TemporalModule):
    """Applies the shift of TSM as a module; it has no parameters, so a network that contains it keeps its keys.

    shift_div: 1/shift_div of the channels move each way.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame.
    shift_place: what is shifted: `blockres`, the input of the residual branch; `block`, the input of the whole block.
    """

    takes_tokens: ClassVar[bool] = True

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int = 1,
        channel_dim: int = 1,
        shift_div: PositiveInt = 8,
        shift: Direction = "bi",
        shift_place: Place = "blockres",
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        if shift_div == 1 and shift == "bi":
            raise ValueError("shift_div: should be at least 2, because two parts of the channels move, but is 1")
        if channels < shift_div:
            raise ValueError(f"shift_div: {shift_div} is more than the {channels} channels of a branch")
        self.shift_div, self.direction = shift_div, shift
        self.causal = shift == "uni"

    def forward(self, x: Tensor) -> Tensor:
        """Shifts features (B*T, ...), or (B, ...) with a stream, and keeps their shape."""
        fold = x.shape[self.channel_dim] // self.shift_div
        if self.stream is not None:
            return self._next(x, fold, self.stream)
        return temporal_shift(x, self.num_frames, fold=fold, direction=self.direction, channel_dim=self.channel_dim)

    def _next(self, x: Tensor, fold: int, stream: Stream) -> Tensor:
        """Shifts features (B, ...) of one frame per clip, and remembers the channels that move, without a copy."""
        moving, rest = x.split([fold, x.shape[self.channel_dim] - fold], dim=self.channel_dim)
        past = stream.recall(moving, moving.shape)
        stream.keep(moving)
        return torch.cat([past, rest], dim=self.channel_dim)

    def extra_repr(self) -> str:
        """Returns what print(model) shows."""
        return f"1/{self.shift_div}, {self.direction}"


class TemporalPool(nn.Module):
    """Halves the frame rate inside a network by a max over 3 frames at stride 2 (TSM's code, option temporal_pool)."""

    def __init__(self) -> None:
        super().__init__()
        self.num_frames = 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to (B*ceil(T/2), C, H, W)."""
        clips = x.unflatten(0, (-1, self.num_frames)).transpose(1, 2)  # B, C, T, H, W
        pooled = F.max_pool3d(clips, kernel_size=(3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        return pooled.transpose(1, 2).flatten(0, 1)


def pooled_length(num_frames: int) -> int:
    """Returns the number of frames that TemporalPool leaves."""
    return (num_frames + 1) // 2
