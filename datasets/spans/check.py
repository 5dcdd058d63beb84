"""Finds what is wrong with spans, and mends what can be mended without guessing."""

from __future__ import annotations

from dataclasses import replace

from datasets.spans.reading import Fault
from datasets.spans.span import LabeledVideo, Span, SpanTable, in_order
from datasets.spans.video_files import VideoFiles

_SLACK = 0.1  # seconds by which published spans may go beyond a duration that is rounded
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
        spans = [mended for span in video.spans if (mended := _mended(span, video, length, faults)) is not None]
        videos.append(replace(video, spans=_each_once(in_order(spans), video, faults)))
    return replace(table, videos=tuple(videos)), faults


def _mended(span: Span, video: LabeledVideo, length: float | None, faults: list[Fault]) -> Span | None:
    """Returns a span within its video; None if nothing would be left of it."""

    def wrong(what: str, fix: str) -> None:
        faults.append(Fault(f"{span.where or video.name}: {_said(span)} {what}", fix))

    if span.start > span.end:
        wrong("ends before it begins; exchange the two", "start and end are exchanged")
        span = replace(span, start=span.end, end=span.start)
    if span.start == span.end:
        wrong("has no length; give it one, or remove it", "the span is left out")
        return None
    if span.end <= 0 or (length is not None and span.start >= length):
        wrong(f"lies outside of the video{_lasts(length)}; correct it, or remove it", "the span is left out")
        return None
    if span.start < 0:
        wrong("begins before the video; its times count from the start of the file", "it begins at 0")
        span = replace(span, start=0.0)
    if length is not None and span.end > length + max(_SLACK, 1 / video.fps if video.fps else 0.0):
        wrong(f"ends behind the end of the video{_lasts(length)}; correct it", "it ends with the video")
        span = replace(span, end=length)
    return span


def _each_once(spans: tuple[Span, ...], video: LabeledVideo, faults: list[Fault]) -> tuple[Span, ...]:
    kept: dict[tuple[float, float, str], Span] = {}
    for span in spans:
        key = span.start, span.end, span.label
        if key in kept:
            message = f"{span.where or video.name}: {_said(span)} is there twice; remove one of the two"
            faults.append(Fault(message, "one of the two is left out"))
        else:
            kept[key] = span
    return tuple(kept.values())


def _said(span: Span) -> str:
    return f"{span.label!r} from {span.start:g} to {span.end:g} s"


def _lasts(length: float | None) -> str:
    return "" if length is None else f", which lasts {length:.2f} s"
