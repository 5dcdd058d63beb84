"""Defines what every temporal module is: a part of an image network that lets the frames of a clip see each other."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

# entry: the input of the first convolution of a residual branch. inner: the input of the second, which the first one,
# its norm and its activation have made. end: the output of the last one, before its norm
Spot = Literal["entry", "inner", "end"]
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
        stack: consecutive RGB frames that it takes at each place of a clip, whose differences it computes itself.
        causal: whether no frame sees a later one.
        channels: C. num_frames: T of the clips that run now; the method sets it.
        channel_dim: axis of the channels, 1 in maps, -1 in tokens.
    """

    spot: ClassVar[Spot] = "entry"
    stages: ClassVar[tuple[str, ...]] = ()
    takes_tokens: ClassVar[bool] = False
    any_length: ClassVar[bool] = True
    stack: ClassVar[int] = 1
    causal: bool = False

    def __init__(self, channels: int, *, num_frames: int, channel_dim: int = 1) -> None:
        super().__init__()
        self.channels, self.num_frames, self.channel_dim = channels, num_frames, channel_dim

    @classmethod
    def complete(cls, net: nn.Module, name: str, **arguments: Any) -> None:
        """Changes what such a network has outside of its branches, in place; by default nothing.

        name: how messages call the network. arguments: those of the module.
        Raises: ValueError for a network that cannot be changed so.
        """

    def clips(self, x: Tensor) -> Tensor:
        """Returns a view (B, T, C, ...) of features; the axes behind C are positions."""
        clips = x.unflatten(0, (-1, self.num_frames))
        return clips if self.channel_dim == 1 else clips.movedim(-1, 2)

    def rows(self, clips: Tensor) -> Tensor:
        """Returns features from what `clips` returned."""
        return (clips if self.channel_dim == 1 else clips.movedim(2, -1)).flatten(0, 1)


def over_positions(factors: Tensor, like: Tensor) -> Tensor:
    """Adds axes of length 1 behind factors (..., T, C) or (C,), so that they multiply clips (B, T, C, ...)."""
    return factors.reshape(factors.shape + (1,) * (like.dim() - 3))


def mean_positions(clips: Tensor) -> Tensor:
    """Averages clips (B, T, C, ...) over positions: (B, T, C)."""
    return clips.mean(tuple(range(3, clips.dim())))


def shift_taps(channels: int, shift_div: int) -> nn.Conv1d:
    """Makes the weights of `correlate_in_time` for each channel, which start as the shift of TSM."""
    taps = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
    fold = channels // shift_div
    with torch.no_grad():
        taps.weight.zero_()
        taps.weight[:fold, 0, 2] = 1  # from the next frame
        taps.weight[fold : 2 * fold, 0, 0] = 1  # from the frame before
        taps.weight[2 * fold :, 0, 1] = 1
    return taps


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
