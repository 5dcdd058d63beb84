"""Holds what is labelled in videos: spans of seconds, the videos that they are in, and a table of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from datasets.lists.columns import composed
from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.spans.frame_clock import FrameClock


@dataclass(frozen=True)
class Span:
    """Holds one labelled part of a video.

    start, end: seconds from the start of the file; the moment `end` is not a part of the span.
    label: name of the class.
    score: how sure a model is; None for a label of a person.
    where: file and line, or file and record, for messages; two spans are equal whatever it is.
    """

    start: float
    end: float
    label: str
    score: float | None = None
    where: str = field(default="", compare=False, repr=False)

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class LabeledVideo:
    """Holds one video and the spans in it.

    name: path or id, as the file has it, with slashes between folders.
    duration: seconds; None if it is unknown.
    fps: frames per second; None if it is unknown.
    num_frames: None if it is unknown.
    subset: such as training or validation; "" without one.
    where: the file that names it, for messages; two videos are equal whatever it is.
    clock: the times of its frames; None if nobody has seen the file, or its labels say how many a second there are.
    """

    name: str
    spans: tuple[Span, ...] = ()
    duration: float | None = None
    fps: float | None = None
    num_frames: int | None = None
    subset: str = ""
    where: str = field(default="", compare=False, repr=False)
    clock: FrameClock | None = field(default=None, compare=False, repr=False)

    @property
    def length(self) -> float | None:
        """The seconds from the first frame to the end, from what is known; None if it is unknown."""
        if self.duration is None and self.fps and self.num_frames:
            return self.num_frames / self.fps
        return self.duration


_ABOUT = ("subset", "duration", "fps", "num_frames")


def contradiction(one: LabeledVideo, other: LabeledVideo) -> str:
    """Says in which fact about a video two descriptions of it differ; "" if they do not."""
    for key in _ABOUT:
        values = getattr(one, key), getattr(other, key)
        if all(values) and values[0] != values[1]:
            return f"{key} {values[0]} and {values[1]}"
    return ""


def filled(one: LabeledVideo, other: LabeledVideo) -> LabeledVideo:
    """Returns a video with the facts about it that only the other description has."""
    news: dict[str, Any] = {key: value for key in _ABOUT if (value := getattr(other, key)) and not getattr(one, key)}
    return replace(one, **news) if news else one


@dataclass(frozen=True)
class SpanTable:
    """Holds labelled videos.

    videos: sorted by name, their spans by start, end and label.
    classes: all class names in order, also those that no span has.
    """

    videos: tuple[LabeledVideo, ...]
    classes: tuple[str, ...]

    @property
    def spans(self) -> Iterator[Span]:
        """The spans of all videos."""
        return (span for video in self.videos for span in video.spans)


def in_order(spans: list[Span] | tuple[Span, ...]) -> tuple[Span, ...]:
    """Returns the spans sorted by start, end, label and score."""
    return tuple(sorted(spans, key=lambda span: (span.start, span.end, span.label, span.score or 0.0)))


def counted(number: int, noun: str, several: str = "") -> str:
    """Returns a number with its noun: 1 span, 2 spans. several: the plural, where it needs more than an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def stem(name: str) -> str:
    """Returns the name of a video without its folder and without the suffix of a video file."""
    return PurePosixPath(without_suffix(name)).name


def without_suffix(name: str) -> str:
    """Returns the name of a video without the suffix of a video file, in the composed form of Unicode."""
    pure = PurePosixPath(composed(name.replace("\\", "/")))
    return str(pure.with_suffix("")) if pure.suffix.lower() in VIDEO_SUFFIXES else str(pure)
