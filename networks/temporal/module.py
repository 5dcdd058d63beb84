"""Defines what every temporal module is: a part of an image network that lets the frames of a clip see each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

# entry: the input of the first convolution of a residual branch. inner: the input of the second, which the first one,
# its norm and its activation have made. end: the output of the last one, before its norm. block: inside, where the
# module itself knows. transformer: inside each block of a vision transformer, which need not be traced
Spot = Literal["entry", "inner", "end", "block", "transformer"]
Direction = Literal["bi", "uni"]
OF_THE_PLACE = (
    "channels",
    "num_frames",
    "channel_dim",
)  # what its place in a network decides, not the config


class TemporalModule(nn.Module):
    """Maps features (B*T, C, H, W), the frames of a clip in a row, to features of the same shape and memory format.

    A module that has `takes_tokens` takes tokens (B*T, ..., C) as well.

    Attributes:
        spot: where in a residual branch it sits.
        stages: prefixes of the modules of the image network whose branches get one; () gives one to every branch.
        any_length: whether it takes clips of another length than it was built for.
        trains: parts of the image network that learn beside the module where `freeze: [base]` keeps the rest.
        stack: consecutive RGB frames that it takes at each place of a clip, whose differences it computes itself.
        causal: whether no frame sees a later one. All that such a module knows of earlier frames has to come from
            `with_past`; then it runs frame by frame as well (methods/frame_by_frame.py).
        stream: what it remembers while the network runs frame by frame; else None.
        channels: C. num_frames: T of the clips that run now; the method sets it.
        channel_dim: axis of the channels, 1 in maps, -1 in tokens.
    """

    spot: ClassVar[Spot] = "entry"
    stages: ClassVar[tuple[str, ...]] = ()
    takes_tokens: ClassVar[bool] = False
    trains: ClassVar[tuple[str, ...]] = ()
    stack: ClassVar[int] = 1
    any_length: bool = True
    causal: bool = False
    stream: Stream | None = None

    def __init__(self, channels: int, *, num_frames: int, channel_dim: int = 1) -> None:
        super().__init__()
        self.channels, self.num_frames, self.channel_dim = channels, num_frames, channel_dim

    @classmethod
    def attach(cls, module: nn.Module, name: str) -> None:
        """Makes a block call the module that is its child `temporal`, for the spots `block` and `transformer`.

        name: how messages call the network.
        Raises: ValueError for a block that cannot call it.
        """
        raise NotImplementedError

    @classmethod
    def complete(cls, net: nn.Module, name: str, *, num_frames: int, **arguments: Any) -> None:
        """Changes what such a network has outside of its branches, in place; by default nothing.

        name: how messages call the network. num_frames: T of its clips. arguments: those of
            the module.
        Raises: ValueError for a network that cannot be changed so.
        """

    def clips(self, x: Tensor) -> Tensor:
        """Returns a view (B, T, C, ...) of features; the axes behind C are positions. T is 1 in a stream."""
        clips = x.unflatten(0, (-1, self.num_frames if self.stream is None else 1))
        return clips if self.channel_dim == 1 else clips.movedim(-1, 2)

    def rows(self, clips: Tensor) -> Tensor:
        """Returns features from what `clips` returned."""
        return (clips if self.channel_dim == 1 else clips.movedim(2, -1)).flatten(0, 1)

    def with_past(self, values: Tensor, frames: int, *, time: int = 1) -> Tensor:
        """Puts those of earlier frames in front of values (B, T, ...); before a clip they are zero.

        In a stream, this is what the module remembers.

        frames: how many of them. time: axis of T.
        """
        shape = (*values.shape[:time], frames, *values.shape[time + 1 :])
        if self.stream is None:
            return _in_a_row(values.new_zeros(shape), values, time)
        seen = _in_a_row(self.stream.recall(values, shape), values, time)
        self.stream.keep(seen.narrow(time, seen.shape[time] - frames, frames))
        return seen


class Stream:
    """Holds what the temporal modules of a network remember from one frame to the next.

    before: what each wanted to keep of the frames so far, in the order in which the modules run; empty at the first
        frame.
    now: the same after this frame.
    """

    def __init__(self, before: list[Tensor]) -> None:
        self.before = before
        self.now: list[Tensor] = []

    def recall(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns what was kept at this place of the network; at the first frame zeros, of the type of `like`."""
        return self.before[len(self.now)] if self.before else like.new_zeros(shape)

    def keep(self, values: Tensor) -> None:
        """Notes what is to be remembered of the frames up to this one."""
        self.now.append(values)


def _in_a_row(before: Tensor, values: Tensor, time: int) -> Tensor:
    """Joins values of frames along the axis of time, and keeps the memory format of the second."""
    if time == 1 and values.dim() > 3 and values.stride(2) == 1:  # channels are innermost, which a plain cat undoes
        return torch.cat([before.movedim(2, -1), values.movedim(2, -1)], 1).movedim(-1, 2)
    return torch.cat([before, values], time)


def over_positions(factors: Tensor, like: Tensor) -> Tensor:
    """Adds axes of length 1 behind factors (..., T, C) or (C,), so that they multiply clips (B, T, C, ...).

    Channels are innermost in what it returns: a product reads them in a row then, and keeps the memory format of clips.
    """
    return factors.contiguous().reshape(factors.shape + (1,) * (like.dim() - 3))


def mean_positions(clips: Tensor) -> Tensor:
    """Averages clips (B, T, C, ...) over positions: (B, T, C)."""
    return clips.mean(tuple(range(3, clips.dim())))


def shift_taps(channels: int, shift_div: int) -> nn.Conv1d:
    """Makes a convolution over time for each channel, whose taps start as the shift of TSM; 0 shifts nothing."""
    taps = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
    fold = channels // shift_div if shift_div else 0
    with torch.no_grad():
        taps.weight.zero_()
        taps.weight[:fold, 0, 2] = 1  # from the next frame
        taps.weight[fold : 2 * fold, 0, 0] = 1  # from the frame before
        taps.weight[2 * fold :, 0, 1] = 1
    return taps


def taps_of(conv: nn.Conv1d) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the weights of such a convolution as `correlate_in_time` takes them for maps."""
    before, here, after = (tap.contiguous()[:, None, None] for tap in conv.weight[:, 0].unbind(-1))
    return before, here, after


def correlate_in_time(clips: Tensor, before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """Weighs each frame with its two neighbours, channel by channel; what lies outside of the clip is zero.

    clips: (B, T, C, ...). before, here, after: weights that can be multiplied with it, of the previous frame, of the
        frame itself and of the next one.
    """
    out = clips * here  # keeps the memory format, which a padding would not
    if clips.shape[1] > 1:
        out[:, 1:] += clips[:, :-1] * before
        out[:, :-1] += clips[:, 1:] * after
    return out


def replace_channels(x: Tensor, changed: Tensor) -> Tensor:
    """Returns maps (N, C, H, W), in their memory format, whose first channels are `changed` (N, c, H, W)."""
    width = changed.shape[1]
    if is_channels_last(x):
        changed = changed.contiguous(memory_format=torch.channels_last)
    return changed if width == x.shape[1] else torch.cat([changed, x[:, width:]], dim=1)


def is_channels_last(x: Tensor) -> bool:
    """Tells whether the channels of maps are innermost in memory."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
