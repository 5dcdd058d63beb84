"""Defines what every temporal module is: a part of an image network that lets the frames of a clip see each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        looks_ahead: how a module without a causal form sees later frames, as a clause behind its name.
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
    looks_ahead: ClassVar[str] = "which looks at later frames in its only form"
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
        """Puts the values of earlier frames in front of values (B, T, ...); before a clip they are zero.

        In a stream, this is what the module remembers.

        frames: how many of them. time: axis of T.
        """
        shape = (*values.shape[:time], frames, *values.shape[time + 1 :])
        if self.stream is None:
            return _in_a_row(values.new_zeros(shape), values, time)
        seen = _in_a_row(self.stream.recall(values, shape), values, time)
        self.stream.keep(seen.narrow(time, seen.shape[time] - frames, frames))
        return seen

    def correlate(self, clips: Tensor, taps: nn.Conv1d) -> Tensor:
        """Weighs frames of clips (B, T, C, ...) by three taps for each channel; what lies outside of the clip is zero.

        The taps see a frame and its two neighbours; in a causal module, the frame and the two before it.
        """
        first, middle, last = taps_of(taps, clips.dtype)
        if not self.causal:
            return correlate_in_time(clips, first, middle, last)
        seen = self.with_past(clips, 2)
        return seen[:, :-2] * first + seen[:, 1:-1] * middle + clips * last

    def motion(self, here: Tensor, there: Tensor) -> Tensor:
        """Returns by how much the next frame's means `there` differ from this frame's `here`, both (B, T, c).

        The last frame of a clip has no next one, so it has zero. A causal module compares each frame's `there` with
        the `here` of the frame before, and the first one has zero.
        """
        if not self.causal:
            return torch.cat([there[:, 1:] - here[:, :-1], torch.zeros_like(here[:, :1])], 1)
        # a one beside the values tells a frame that was seen from the zeros before a clip
        seen = self.with_past(F.pad(here, (0, 1), value=1.0), 1)[:, :-1]
        return (there - seen[..., :-1]) * seen[..., -1:]


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
        """Returns what this place of the network has kept; zeros of the type of `like` at the first frame."""
        return self.before[len(self.now)] if self.before else like.new_zeros(shape)

    def keep(self, values: Tensor) -> None:
        """Keeps what this place of the network will need of the frames up to this one."""
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


def shift_taps(channels: int, shift_div: int, direction: Direction = "bi") -> nn.Conv1d:
    """Makes a convolution over time for each channel, whose taps start as the shift of TSM; 0 shifts nothing.

    direction: with `bi`, the taps see a frame and its neighbours; with `uni`, the frame and the two before it.
    """
    taps = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
    fold = channels // shift_div if shift_div else 0
    with torch.no_grad():
        taps.weight.zero_()
        if direction == "uni":
            taps.weight[:fold, 0, 1] = 1  # from the frame before
            taps.weight[fold:, 0, 2] = 1
        else:
            taps.weight[:fold, 0, 2] = 1  # from the next frame
            taps.weight[fold : 2 * fold, 0, 0] = 1  # from the frame before
            taps.weight[2 * fold :, 0, 1] = 1
    return taps


def taps_of(conv: nn.Conv1d, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the weights of such a convolution as `correlate_in_time` takes them for maps of a type.

    With mixed precision maps are of 16 bit, and taps of 32 would widen them, with all of the network behind them.
    """
    before, here, after = (tap.to(dtype).contiguous()[:, None, None] for tap in conv.weight[:, 0].unbind(-1))
    return before, here, after


def excite(x: Tensor, channels: Tensor, places: Tensor) -> Tensor:
    """Multiplies maps x (N, C, H, W) with a factor of each channel (N, C, 1, 1) plus one of each place (N, 1, H, W).

    The sum of the two would be as large as x, so it is never made.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return torch.addcmul(x * channels, x, places)
    found: Tensor = _Excite.apply(x, channels, places)
    return found


class _Excite(torch.autograd.Function):
    """Excites in eager mode; both factors get their gradients from one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(x, channels, places)
        return (x * channels).addcmul_(x, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, channels, places = ctx.saved_tensors
        seen = grad * x
        return (
            (grad * channels).addcmul_(grad, places),
            seen.sum((2, 3), keepdim=True),
            seen.sum(1, keepdim=True),
        )


def correlate_in_time(clips: Tensor, before: Tensor | None, here: Tensor, after: Tensor | None) -> Tensor:
    """Weighs each frame with its two neighbours; what lies outside of the clip is zero.

    clips: (B, T, C, ...). before, here, after: weights that can be multiplied with it, of the previous frame, of the
        frame itself and of the next one. Those of a neighbour that have T entries belong to the frame that is weighed,
        so `before[:, 0]` is how much of the first frame the second one gets. None: of that frame nothing.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return _weigh(clips, before, here, after)
    found: Tensor = _Correlate.apply(clips, before, here, after)
    return found


def _weigh(clips: Tensor, before: Tensor | None, here: Tensor, after: Tensor | None) -> Tensor:
    out = clips * here  # keeps the memory format, which a padding would not
    if clips.shape[1] > 1 and before is not None:
        out[:, 1:].addcmul_(clips[:, :-1], _frames(before, clips, slice(None, -1)))
    if clips.shape[1] > 1 and after is not None:
        out[:, :-1].addcmul_(clips[:, 1:], _frames(after, clips, slice(1, None)))
    return out


def _frames(weights: Tensor, clips: Tensor, part: slice) -> Tensor:
    """Returns the weights of a part of the frames, if they differ from frame to frame."""
    return weights[:, part] if weights.dim() == clips.dim() and weights.shape[1] > 1 else weights


class _Correlate(torch.autograd.Function):
    """Weighs frames in eager mode. The gradient of writing into parts of a tensor would copy all of it each time."""

    @staticmethod
    def forward(ctx: Any, clips: Tensor, before: Tensor | None, here: Tensor, after: Tensor | None) -> Tensor:
        ctx.save_for_backward(clips, before, here, after)
        return _weigh(clips, before, here, after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        clips, *weights = ctx.saved_tensors
        found: list[Tensor | None] = [None] * 4
        if ctx.needs_input_grad[0]:
            found[0] = _reversed(grad, *weights)
        # how many frames later the weighed frame is seen
        for place, (weight, later) in enumerate(zip(weights, (1, 0, -1), strict=True), 1):
            if ctx.needs_input_grad[place]:
                found[place] = _gradient(clips, grad, weight, later)
        return tuple(found)


def _reversed(grad: Tensor, before: Tensor | None, here: Tensor, after: Tensor | None) -> Tensor:
    """Returns the gradient of clips (B, T, C, ...): each frame from where it was seen."""
    out = grad * here
    if grad.shape[1] > 1 and before is not None:
        out[:, :-1].addcmul_(grad[:, 1:], _frames(before, grad, slice(None, -1)))
    if grad.shape[1] > 1 and after is not None:
        out[:, 1:].addcmul_(grad[:, :-1], _frames(after, grad, slice(1, None)))
    return out


def _gradient(clips: Tensor, grad: Tensor, weight: Tensor, later: int) -> Tensor:
    """Returns the gradient of the weights of frames that are seen `later` frames later: -1, 0 or 1."""
    num_frames = clips.shape[1]
    first, last = max(0, -later), num_frames - max(0, later)
    seen = clips[:, first:last] * grad[:, first + later : last + later]
    if _frames(weight, clips, slice(0, 0)) is weight:  # the same for all frames
        return seen.sum_to_size(weight.shape)
    found = seen.sum_to_size((weight.shape[0], last - first, *weight.shape[2:]))
    none = found.new_zeros(weight.shape[0], num_frames, *weight.shape[2:])
    none[:, first:last] = found
    return none


def replace_channels(x: Tensor, changed: Tensor) -> Tensor:
    """Returns maps (N, C, H, W), in their memory format, whose first channels are `changed` (N, c, H, W)."""
    width = changed.shape[1]
    if is_channels_last(x):
        changed = changed.contiguous(memory_format=torch.channels_last)
    return changed if width == x.shape[1] else torch.cat([changed, x[:, width:]], dim=1)


def is_channels_last(x: Tensor) -> bool:
    """Tells whether the channels of maps are innermost in memory."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
