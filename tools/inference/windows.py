"""Cuts a stream of pictures into the clips of windows, in one pass and with the memory of the windows that are open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from datasets.sampling.rules import Rule
from datasets.videos.video import TimedFrame
from utils.clip_spec import ClipSpec
from utils.transforms.cut_clip import CutClip


@dataclass(frozen=True)
class Window:
    """A stretch of a video that gets a score.

    first, length: its frames. indices: int64 (clips, clip.num_pictures), the frames its clips are made of, counted from
    the video's beginning.
    """

    first: int
    length: int
    indices: np.ndarray


@dataclass(frozen=True)
class Cut:
    """A window with its pixels.

    start, end: seconds of its first and last frame. frames: how many it had. times: float64 (clips, T), seconds of the
    frames of its clips. views: (clips * crops, T, H, W, C).
    """

    start: float
    end: float
    frames: int
    times: np.ndarray
    views: np.ndarray


def whole(rule: Rule, clip: ClipSpec, *, num_frames: int, num_clips: int) -> Window:
    """The one window that is the video, with the clips of its test protocol."""
    return Window(0, num_frames, rule.pick(num_frames, clip, num_clips))


def sliding(rule: Rule, clip: ClipSpec, *, length: int, step: int, num_frames: int | None) -> Iterator[Window]:
    """Windows of `length` frames, `step` apart, each cut as a video of its own; the last one ends with the video.

    num_frames: of the video; None: without end.
    """
    if num_frames is not None:
        length = min(length, num_frames)
    num_clips = rule.num_clips if rule.fixed_num_clips else 1
    inside = rule.pick(length, clip, num_clips)
    for first in itertools.count(0, step):
        if num_frames is not None and first + length >= num_frames:
            yield Window(num_frames - length, length, inside + (num_frames - length))
            return
        yield Window(first, length, inside + first)


def cut(frames: Iterable[TimedFrame], windows: Iterable[Window], transform: CutClip) -> Iterator[Cut]:
    """Follows the pictures once and yields each window as soon as its last frame has come.

    windows: in the order of their first frames. A picture is resized and cropped when it comes, once, and forgotten
    with the last window that shows it. Where the stream ends early, a window that has begun holds its last picture.
    """
    waiting = iter(windows)
    upcoming = next(waiting, None)
    opened: list[_Open] = []
    for index, (time, picture) in enumerate(frames):
        while upcoming is not None and upcoming.first <= index:
            opened.append(_Open(upcoming, start=time))
            upcoming = next(waiting, None)
        if not opened and upcoming is None:
            return
        piece: np.ndarray | None = None
        for window in opened:
            if window.wants(index):
                piece = transform.apply([picture])[0] if piece is None else piece
                window.add(index, time, piece)
            window.end, window.seen = time, index + 1
        while opened and opened[0].complete:
            yield opened.pop(0).close()
    for window in opened:
        if window.pieces:
            yield window.close()


@dataclass
class _Open:
    """A window whose frames are coming in. pieces: (crops, 1, H, W, C) by frame, each only once; times: of the same."""

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

    def close(self) -> Cut:
        last = max(self.pieces)
        first = min(self.pieces)
        clips, times = [], []
        for indices in self.window.indices.tolist():
            # a frame that never came is held by the nearest end of those that did
            there = [index if index in self.pieces else (last if index > last else first) for index in indices]
            clips.append(np.concatenate([self.pieces[index] for index in there], axis=1))
            times.append([self.times[index] for index in there])
        return Cut(self.start, self.end, self.seen - self.window.first, np.array(times), np.concatenate(clips))
