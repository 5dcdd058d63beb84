"""Finds what is wrong with spans, and mends what can be mended without guessing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from datasets.lists.spans import seconds_beyond
from datasets.spans.reading import Fault
from datasets.spans.span import LabeledVideo, Span, SpanTable, in_order
from datasets.spans.video_files import VideoFiles

_OTHER_CUT = 1.0  # seconds by which a video may be longer or shorter than its labels say


def check(table: SpanTable, files: VideoFiles | None = None) -> tuple[SpanTable, list[Fault]]:
    """Returns the table as --fix makes it, and what is wrong with it as it is.

    files: the videos; None if nobody knows them.
    """
    faults: list[Fault] = []
    videos = []
    if files is not None:
        files.look_at(video.name for video in table.videos)
    for video in table.videos:
        length = video.length
        if files is not None:
            if reason := files.fault(video.name):
                faults.append(Fault(f"{video.where}: {reason}; add it or remove its labels", "the video is left out"))
                continue
            length = files.seconds(video.name)
            if length and video.length and abs(video.length - length) > _OTHER_CUT:
                faults.append(
                    Fault(
                        f"{video.where}: {video.name} lasts {length:.2f} s, but its labels say {video.length:.2f} s; "
                        "they belong to another cut of it"
                    )
                )
        spans = [mended for span in video.spans if (mended := mend(span, video, length, faults)) is not None]
        videos.append(replace(video, spans=_each_once(in_order(spans), video, faults)))
    return replace(table, videos=tuple(videos)), faults


def mend(
    span: Span, video: LabeledVideo, length: float | None, faults: list[Fault], *, in_frames: bool = False
) -> Span | None:
    """Returns a span within its video, and adds what is wrong with it to `faults`; None if nothing would be left of it.

    length: of the video; None if it is unknown. in_frames: whether all times are numbers of frames, and not seconds.
    """

    def wrong(what: str, fix: str) -> None:
        faults.append(Fault(f"{span.where or video.name}: {said(span, in_frames=in_frames)} {what}", fix))

    lasts = "" if length is None else f", which has {length:g} frames" if in_frames else f", which lasts {length:.2f} s"
    if span.start > span.end:
        wrong("ends before it begins; exchange the two", "start and end are exchanged")
        span = replace(span, start=span.end, end=span.start)
    if span.start == span.end:
        wrong("has no length; give it one, or remove it", "the span is left out")
        return None
    if span.end <= 0 or (length is not None and span.start >= length):
        wrong(f"lies outside of the video{lasts}; correct it, or remove it", "the span is left out")
        return None
    if span.start < 0:
        wrong("begins before the video; its times count from the start of the file", "it begins at 0")
        span = replace(span, start=0.0)
    rounded = not in_frames and length is not None and not seconds_beyond(span.end, length, video.fps or np.inf)
    if length is not None and span.end > length and not rounded:
        wrong(f"ends behind the end of the video{lasts}; correct it", "it ends with the video")
        span = replace(span, end=length)
    return span


def overlapping(spans: Iterable[Span], *, same_class: bool | None = None) -> Iterator[tuple[Span, Span]]:
    """Yields each span, in their order, that begins before an earlier one has ended, behind that one.

    same_class: whether the earlier one must have the same class, or another one; None for any.
    """
    latest: dict[str, Span] = {}  # of each class the span that ends last
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        fitting = (other for label, other in latest.items() if same_class in (None, label == span.label))
        other = max(fitting, key=lambda other: other.end, default=None)
        if other is not None and span.start < other.end:
            yield other, span
        if span.label not in latest or latest[span.label].end < span.end:
            latest[span.label] = span


def _each_once(spans: tuple[Span, ...], video: LabeledVideo, faults: list[Fault]) -> tuple[Span, ...]:
    kept: dict[tuple[float, float, str], Span] = {}
    for span in spans:
        key = span.start, span.end, span.label
        if key in kept:
            message = f"{span.where or video.name}: {said(span)} is there twice; remove one of the two"
            faults.append(Fault(message, "one of the two is left out"))
        else:
            kept[key] = span
    return tuple(kept.values())


def said(span: Span, *, in_frames: bool = False) -> str:
    """Returns a span and its class in words, for messages."""
    times = f"from {span.start:g} to {span.end:g}"
    return f"{span.label!r} {times} (frames)" if in_frames else f"{span.label!r} {times} s"
