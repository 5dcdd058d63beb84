"""Cuts a stream of pictures into the clips of windows: in one pass, with memory only for the windows that are open.

`cut_video` decides which windows a video has, by the checkpoint's test protocol.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from datasets.protocol import ClipProtocol
from datasets.sampling.rules import window_length
from datasets.videos.scan import VideoTimes
from datasets.videos.shown import even_times, tested
from datasets.videos.video import TimedFrame
from utils.errors import UserError
from utils.transforms.cut_clip import CutClip

T = TypeVar("T")
LONG = 60.0  # seconds from which windows slide over a video
SEGMENTS_WINDOW = 10.0  # seconds of a window where nothing else is known: the length of Kinetics clips


@dataclass(frozen=True)
class Window:
    """A stretch of a video that gets a score.

    first, length: its frames.
    indices: int64 (clips, clip.num_pictures), the frames its clips are made of, counted from the start of the video.
    """

    first: int
    length: int
    indices: np.ndarray


@dataclass(frozen=True)
class WindowClips:
    """A window with its pixels.

    start, end: seconds of its first and last frame.
    num_frames: how many frames of it there were.
    times: float64 (clips, T), seconds of the frames of its clips.
    views: (clips * crops, T, H, W, C).
    """

    start: float
    end: float
    num_frames: int
    times: np.ndarray
    views: np.ndarray


def cut_video(
    protocol: ClipProtocol,
    frames: Iterable[TimedFrame],
    *,
    num_frames: int | None,
    fps: float,
    slide: bool,
    window: float | None = None,
    step: float | None = None,
    trained_on: Mapping[str, float] = MappingProxyType({}),
    times: VideoTimes | None = None,
) -> Iterator[WindowClips]:
    """Yields the windows of a video with their pixels: sliding ones, or one for the whole video.

    num_frames: length of the video; None, only with `slide`, for one without end.
    window, step: seconds of a window and between windows; default: `usual_window`, half a window apart.
    trained_on: the usual length of the videos that the network was trained on, in `frames` and `seconds`.
    times: of the frames, where a file tells them; by default they are `fps` per second.
    """
    windows: Iterable[Window]
    if slide:
        length, distance = window_and_step(protocol, trained_on, fps, window, step)
        windows = sliding(protocol, length=length, step=distance, num_frames=num_frames, fps=fps)
    else:
        assert num_frames is not None
        known = times if times is not None and len(times) == num_frames else even_times(num_frames, fps)
        indices = tested(known, protocol.clip, protocol.video_sampling, protocol.num_clips)
        windows = [Window(0, num_frames, indices)]
    return cut(frames, windows, protocol.transform)


def window_and_step(
    protocol: ClipProtocol, trained_on: Mapping[str, float], fps: float, window: float | None, step: float | None
) -> tuple[int, int]:
    """Returns the length of sliding windows and the step between them in frames; the arguments are seconds."""
    length = usual_window(protocol, trained_on, fps)[0] if window is None else max(1, round(window * fps))
    return length, max(1, length // 2) if step is None else max(1, round(step * fps))


def check_no_gaps(length: int, step: int, fps: float) -> None:
    """Raises UserError for windows, both in frames, between which a video would not be looked at."""
    if step > length:
        raise UserError(
            f"step: {step / fps:.3g} s is longer than a window, {length / fps:.3g} s; what happens between two windows "
            "would not be seen"
        )


def usual_window(protocol: ClipProtocol, trained_on: Mapping[str, float], fps: float) -> tuple[int, str]:
    """Returns the length of a sliding window in frames if nobody asks for one, and why it is that long.

    It is what the network was trained to look at: a clip, or a whole video for networks that take segments of it.
    """
    sampling, clip = protocol.video_sampling, protocol.clip
    if _takes_one_clip(protocol):
        frames = clip.segments * window_length(clip.num_frames // clip.segments, clip.frame_stride)
        return max(1, frames if sampling.fps is None else round(frames * fps / sampling.fps)), "one clip"
    seconds = sampling.clip_seconds or trained_on.get("seconds")
    if seconds is not None:
        return max(1, round(seconds * fps)), "as in training"
    if "frames" in trained_on:
        return max(1, round(trained_on["frames"])), "as many frames as the training videos have"
    return max(1, round(SEGMENTS_WINDOW * fps)), "as the checkpoint does not say how long its training videos were"


def usual_spacing(protocol: ClipProtocol, trained_on: Mapping[str, float], fps: float) -> float | None:
    """Returns how many frames of a video the next one that the network was trained on lies ahead; None if unknown."""
    sampling, clip = protocol.video_sampling, protocol.clip
    if _takes_one_clip(protocol):
        return clip.frame_stride * (1.0 if sampling.fps is None else fps / sampling.fps)
    if sampling.clip_seconds is None and not trained_on.keys() & {"seconds", "frames"}:
        return None
    return usual_window(protocol, trained_on, fps)[0] / clip.num_frames


def _takes_one_clip(protocol: ClipProtocol) -> bool:
    """Tells a network that is shown frames at a fixed step from one that is shown parts of a whole span."""
    sampling = protocol.video_sampling
    return sampling.clip_seconds is None and (sampling.sampler is not None or protocol.rule.uses_stride)


def sliding(protocol: ClipProtocol, *, length: int, step: int, num_frames: int | None, fps: float) -> Iterator[Window]:
    """Yields windows of `length` frames, `step` apart, each cut like a video of its own; the last ends with the video.

    num_frames: length of the video; None for one without end. fps: its frames per second, for networks that were
        trained on frames at another rate, or on spans of seconds.
    """
    if num_frames is not None:
        length = min(length, num_frames)
    rule = protocol.rule
    num_clips = rule.num_clips if rule.fixed_num_clips else 1
    inside = tested(even_times(length, fps), protocol.clip, protocol.video_sampling, num_clips)
    for first in itertools.count(0, step):
        if num_frames is not None and first + length >= num_frames:
            yield Window(num_frames - length, length, inside + (num_frames - length))
            return
        yield Window(first, length, inside + first)


def cut(frames: Iterable[TimedFrame], windows: Iterable[Window], transform: CutClip) -> Iterator[WindowClips]:
    """Reads the pictures once and yields each window as soon as its last frame has come.

    windows: in the order of their first frames. A picture is resized and cropped once, when it comes, and forgotten
    with the last window that shows it. If the stream ends early, windows that have begun repeat the last picture.
    """
    return gather(frames, windows, lambda picture: transform.apply([picture])[0])


def gather(
    frames: Iterable[tuple[float, T]], windows: Iterable[Window], piece_of: Callable[[T], np.ndarray]
) -> Iterator[WindowClips]:
    """Yields the windows of a stream of anything; `piece_of` makes (crops, 1, ...) of each item that a window wants."""
    waiting = iter(windows)
    upcoming = next(waiting, None)
    opened: list[_OpenWindow] = []
    for index, (time, picture) in enumerate(frames):
        while upcoming is not None and upcoming.first <= index:
            opened.append(_OpenWindow(upcoming, start=time))
            upcoming = next(waiting, None)
        if not opened and upcoming is None:
            return
        piece: np.ndarray | None = None
        for window in opened:
            if window.wants(index):
                piece = piece_of(picture) if piece is None else piece
                window.add(index, time, piece)
            window.end, window.seen = time, index + 1
        while opened and opened[0].complete:
            yield opened.pop(0).close()
    for window in opened:
        if window.pieces:
            yield window.close()


@dataclass
class _OpenWindow:
    """A window whose frames are coming in.

    seen: number of frames of the video so far.
    pieces: (crops, 1, H, W, C) by frame, each only once.
    times: seconds of the same frames.
    """

    window: Window
    start: float
    end: float = 0.0
    seen: int = 0
    pieces: dict[int, np.ndarray] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    _wanted: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self._wanted = frozenset(self.window.indices.ravel().tolist())

    def wants(self, index: int) -> bool:
        return index in self._wanted

    def add(self, index: int, time: float, piece: np.ndarray) -> None:
        self.pieces[index], self.times[index] = piece, time

    @property
    def complete(self) -> bool:
        return self.seen >= self.window.first + self.window.length

    def close(self) -> WindowClips:
        last = max(self.pieces)
        first = min(self.pieces)
        clips, times = [], []
        for indices in self.window.indices.tolist():
            # a frame that never came is replaced by the nearest one of those that did
            there = [index if index in self.pieces else (last if index > last else first) for index in indices]
            clips.append(np.concatenate([self.pieces[index] for index in there], axis=1))
            times.append([self.times[index] for index in there])
        return WindowClips(self.start, self.end, self.seen - self.window.first, np.array(times), np.concatenate(clips))
