"""Describes a format of label files: how it is known, read and written, and what it can hold."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from datasets.spans.document import Document
from datasets.spans.frame_clock import FrameClock
from datasets.spans.reading import Reading
from datasets.spans.span import LabeledVideo, Span, SpanTable, contradiction, counted, filled, in_order, stem
from utils.errors import ListError, UserError

Parts = Callable[[SpanTable], Iterator[tuple[str, SpanTable]]]
EXACT, MICROSECONDS, MILLISECONDS, FRAMES = 0.0, 1e-6, 1e-3, None


@dataclass(frozen=True)
class Format:
    """Describes one format.

    title: the tool or data set that it comes from.
    marks: what a file of this format is known by, for messages.
    suffix: of the files that it writes.
    looks: says whether a document has this format.
    read: returns the videos of a document, in any order.
    write: returns the text of a file.
    holds: which of score, subset, duration, fps, num_frames, empty (videos without spans) and classes it can hold.
    tick: seconds of its finest step; 0.0 if it keeps times to the bit, None if it counts frames.
    steady: whether its frames are steps of 1 / fps, whenever those of the video appear.
    name_as: what it keeps of a video's name.
    parts: divides a table into files, each with its name without suffix; None if one file holds all.
    named: whether only the name of a file says which video or class it is about.
    adds_up: whether several files about the same video complete each other.
    """

    title: str
    marks: str
    suffix: str
    looks: Callable[[Document], bool]
    read: Callable[[Document, Reading], SpanTable]
    write: Callable[[SpanTable], str]
    holds: frozenset[str]
    tick: float | None = EXACT
    steady: bool = False
    name_as: Callable[[str], str] = str
    parts: Parts | None = None
    named: bool = False
    adds_up: bool = False


class Videos:
    """Gathers videos while a file is read; a name that comes again adds its spans to the video."""

    def __init__(self) -> None:
        self._known: dict[str, LabeledVideo] = {}
        self._spans: dict[str, list[Span]] = defaultdict(list)

    def add(self, name: str, spans: list[Span], *, where: str, **about: Any) -> None:
        """Adds spans of a video. about: fields of LabeledVideo. Raises ListError if they contradict what is known."""
        more = LabeledVideo(name, where=where, **about)
        before = self._known.get(name, more)
        if reason := contradiction(before, more):
            raise ListError(f"{where}: {name} has {reason} in one file; correct one of them")
        self._known[name] = filled(before, more)
        self._spans[name] += spans

    def table(self, classes: list[str] | tuple[str, ...] = ()) -> SpanTable:
        """Returns the videos as a table. classes: names that the file gives in order; by default those of its spans."""
        videos = sorted(self._known.values(), key=lambda video: video.name)
        videos = [replace(video, spans=in_order(self._spans[video.name])) for video in videos]
        named = dict.fromkeys(classes)
        return SpanTable(tuple(videos), (*named, *sorted({s.label for v in videos for s in v.spans} - named.keys())))


def one_video(table: SpanTable) -> Iterator[tuple[str, SpanTable]]:
    """Yields a table for each video, for formats whose files are about one; its name is that of the video."""
    for video in table.videos:
        yield stem(video.name), replace(table, videos=(video,))


def csv_of(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as a CSV that is read back as it is; texts_of refuses names that a spreadsheet would compute."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def file_name(name: str) -> str:
    """Returns the name of a video without its folder."""
    return PurePosixPath(name).name


def whole_frames(video: LabeledVideo, form: Format) -> list[tuple[Span, int, int]]:
    """Returns each span with its first frame, counted from 0, and the first frame after it; at least one frame.

    Raises UserError if the frame rate of the video is unknown.
    """
    if video.spans and video.fps is None:
        raise UserError(
            f"{video.name}: {form.title} counts frames, and nothing says how many a second there are; give --videos, "
            "the folder of the videos, or --fps"
        )
    found = []
    clock = _clock(video, form)
    for span in video.spans:
        first, after = clock.frame(span.start), clock.frame(span.end)
        found.append((span, first, max(after, first + 1)))
    return found


def _clock(video: LabeledVideo, form: Format) -> FrameClock:
    return FrameClock(video.fps or 1.0) if form.steady or video.clock is None else video.clock


def losses(table: SpanTable, form: Format, *, written: SpanTable | None = None) -> list[str]:
    """Says in sentences what a format cannot hold of a table; empty if nothing is lost.

    written: the table with frame rates that are known from elsewhere; by default the table itself.
    """
    said = []
    have = {
        "score": (sum(span.score is not None for span in table.spans), "the scores of {}", "span"),
        "subset": (sum(bool(video.subset) for video in table.videos), "the subsets of {}", "video"),
        "duration": (sum(video.duration is not None for video in table.videos), "the durations of {}", "video"),
        "fps": (sum(video.fps is not None for video in table.videos), "the frame rates of {}", "video"),
        "num_frames": (
            sum(video.num_frames is not None for video in table.videos),
            "the numbers of frames of {}",
            "video",
        ),
        "empty": (sum(not video.spans for video in table.videos), "{} without spans", "video"),
        "classes": (
            len(table.classes) * (list(table.classes) != sorted({span.label for span in table.spans})),
            "the order of {}, and those without spans",
            "class",
        ),
    }
    for key, (number, words, noun) in have.items():
        if number and key not in form.holds:
            said.append(
                f"{form.title} cannot hold {words.format(counted(number, noun, 'classes' * (noun == 'class')))}"
            )
    if changed := [video.name for video in table.videos if form.name_as(video.name) != video.name]:
        videos = counted(len(changed), "video")
        said.append(f"{form.title} names {videos} otherwise: {changed[0]} is {form.name_as(changed[0])}")
    moved = [abs(moment - kept) for video in (written or table).videos for moment, kept in _kept(video, form)]
    if any(shift > MICROSECONDS for shift in moved):
        step = "whole frames" if form.tick is None else "milliseconds"
        times = counted(sum(shift > MICROSECONDS for shift in moved), "time")
        said.append(f"{form.title} rounds {times} to {step}, by {1000 * max(moved):.3g} ms at most")
    return said


def check_times(table: SpanTable, form: Format) -> None:
    """Raises UserError for a span that has no length in the format's times, and for two that become the same."""
    for video in table.videos if form.tick != EXACT else ():
        moments = [kept for _, kept in _kept(video, form)]
        there: set[tuple[float, float, str]] = set()
        for span, start, end in zip(video.spans, moments[::2], moments[1::2], strict=True):
            what = f"{video.name}: {span.label!r} from {span.start:g} to {span.end:g} s"
            if start == end:
                raise UserError(f"{what} is too short for {form.title}; remove it, or write another format")
            if (start, end, span.label) in there:
                raise UserError(f"{what} and another span are the same in {form.title}; write another format")
            there.add((start, end, span.label))


def _kept(video: LabeledVideo, form: Format) -> list[tuple[float, float]]:
    """Returns each moment of a video's spans, and the one that a file of the format has in its place."""
    if form.tick is None:
        second, frames = _clock(video, form).second, whole_frames(video, form)
        pairs = [((span.start, second(first)), (span.end, second(after))) for span, first, after in frames]
        return [pair for both in pairs for pair in both]
    step = form.tick or MICROSECONDS
    moments = [moment for span in video.spans for moment in (span.start, span.end)]
    return [(moment, round(moment / step) * step if form.tick > MICROSECONDS else moment) for moment in moments]


def clock(seconds: float, *, mark: str = ".", digits: int = 3) -> str:
    """Returns seconds as hh:mm:ss.mmm. mark: stands before the fraction. digits: of the fraction."""
    ticks = round(seconds * 10**digits)
    whole, rest = divmod(ticks, 10**digits)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:0{digits}d}"
