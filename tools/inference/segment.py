"""Prints and writes when something happens in videos, for tools/segment.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anal_tools.video_page import PageVideo, address, curve, render
from datasets.spans.files import texts_of, write_spans
from datasets.spans.format import Format, losses
from datasets.spans.formats import FORMATS
from datasets.spans.frame_clock import clock_of
from datasets.spans.span import LabeledVideo, Span, SpanTable, counted, in_order, stem
from datasets.videos.video import TimedFrame
from tools.inference.arguments import frame_rate
from tools.inference.inputs import Input, is_endless, name_inputs, open_input
from tools.inference.prediction import Timeline
from tools.inference.recognizer import Recognizer, load_from_arguments
from tools.inference.segmenting import cutting_from_arguments
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.files import atomic_write, check_place
from utils.scoring.task import POINTS
from utils.segments.table import Segments


def run(args: argparse.Namespace) -> int:
    """Prints and writes the segments; returns 1 when a video of several could not be read, 0 otherwise."""
    if any(is_endless(given) for given in args.input):
        raise UserError("segments need videos with an end, not a camera or an address; save the stream to a file first")
    named = name_inputs(args.input)
    _check_files(args, named)
    recognizer = load_from_arguments(args)
    if recognizer.protocol.task is POINTS and (args.low is not None or args.smoothing or len(args.high) > 1):
        raise UserError(
            f"{recognizer.path}: finds segments by their ends and cuts no scores; --high is the lowest score of a "
            "segment, and --low, --smoothing and several heights are for networks that score moments"
        )
    classes = [recognizer.name(label) for label in range(recognizer.num_class)]
    cutting, notes = cutting_from_arguments(args, classes)
    if args.out:
        _check_names(args, list(named.values()), [name for name in classes if name != args.background])
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    fps = frame_rate(args.fps, list(named))
    found: list[LabeledVideo] = []
    pages: list[PageVideo] = []
    for path, place in named.items():
        try:
            opened = open_input(path, fps=fps)
            timeline = _timeline(recognizer, opened, args)
        except FrameError as error:
            if len(named) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            continue
        for warning in timeline.warnings:
            print(f"warning: {path}: {warning}", file=sys.stderr)
        segments = cutting.segments(timeline)
        clock = None if opened.times is None else clock_of(opened.times)
        video = replace(_labeled(place.as_posix(), timeline, segments, classes), clock=clock)
        print("\n".join(lines_of(video, timeline)), flush=True)
        found.append(video)
        if args.scores:
            _write_scores(_scores_file(args.scores, place, alone=len(named) == 1), timeline, classes)
        if args.page:
            pages.append(_on_page(video, timeline, classes, source=address(path, args.page)))
    if not found:
        raise UserError(f"{', '.join(args.input)}: none of {len(named)} videos could be read")
    if args.page:
        title = "Segments: " + (found[0].name if len(found) == 1 else f"{len(found)} videos")
        with atomic_write(args.page, "w") as file:
            file.write(render(pages, classes, title=title))
        print(f"written: {args.page}", file=sys.stderr)
    if args.out:  # last, as some formats cannot hold videos without segments
        _write_segments(args.out, args.format, found, classes)
    return 1 if len(found) < len(named) else 0


def _check_files(args: argparse.Namespace, named: Mapping[Path, Path]) -> None:
    """Raises UserError for files that could not be written, before hours of computing."""
    form = _format(args.format)
    if args.out and form.parts is not None:
        kept: dict[str, Path] = {}
        for place in named.values():
            name = form.name_as(place.as_posix())
            if name in kept:
                raise UserError(f"{kept[name]} and {place} would both be called {name} in {form.title}: rename one")
            kept[name] = place
        only = next(iter(kept))
        if args.out.suffix.lower() == form.suffix and form.named and (len(kept) > 1 or args.out.stem != stem(only)):
            raise UserError(f"{args.out}: {form.title} names its files after what is in them; give a folder")
    elif args.out and args.out.is_dir():
        raise UserError(f"{args.out}: is a folder; {form.title} has one file for all videos, so name a file")
    if args.scores and args.scores.suffix == ".npz" and len(named) > 1:
        raise UserError(f"{args.scores}: there are scores of {len(named)} videos; give a folder")
    for path in filter(None, (args.out, args.scores, args.page)):
        check_place(path, folder=path != args.page)


def _check_names(args: argparse.Namespace, places: Sequence[Path], classes: Sequence[str]) -> None:
    """Raises UserError for classes or videos that the format of --out cannot name, before hours of computing."""
    every = tuple(Span(at, at + 1.0, name, 0.5) for at, name in enumerate(classes))
    videos = [
        LabeledVideo(place.as_posix(), every if place is places[0] else every[:1], fps=25.0, num_frames=25 * len(every))
        for place in places
    ]
    texts_of(SpanTable(tuple(sorted(videos, key=lambda video: video.name)), tuple(classes)), args.out, args.format)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UserError(f"--format {name}: no such format; there are {', '.join(FORMATS)}")
    return FORMATS[name]


class _Watched(Input):
    """Passes a video on and shows how much of it is done."""

    def __init__(self, video: Input, progress: Progress) -> None:
        self._video, self._progress = video, progress
        self.name, self.fps, self.num_frames, self.warnings = video.name, video.fps, video.num_frames, video.warnings

    def frames(self) -> Iterator[TimedFrame]:
        for item in self._video.frames():
            self._progress.advance(1)
            yield item


def _timeline(recognizer: Recognizer, video: Input, args: argparse.Namespace) -> Timeline:
    with Progress(video.num_frames or 0, unit="frames") as progress:
        watched = _Watched(video, progress)
        return recognizer.timeline(watched, window=args.window, step=args.step, batch_size=args.batch_size)


def _labeled(name: str, timeline: Timeline, segments: Segments, classes: Sequence[str]) -> LabeledVideo:
    """Returns a video with its segments as spans, in milliseconds."""
    columns = (getattr(segments, column).tolist() for column in ("start", "end", "label", "score"))
    spans = [
        Span(round(start, 3), round(end, 3), classes[label], score)
        for start, end, label, score in zip(*columns, strict=True)
    ]
    seconds = round(timeline.seconds, 3)
    return LabeledVideo(name, in_order(spans), duration=seconds, fps=timeline.fps, num_frames=timeline.num_frames)


def lines_of(video: LabeledVideo, timeline: Timeline) -> Iterator[str]:
    """Yields the lines for the terminal."""
    yield f"{video.name}  {timeline.seconds:.1f} s, {timeline.num_frames} frames; {timeline.windows}"
    for span in video.spans:
        yield f"  {span.start:7.1f} - {span.end:7.1f} s  {span.score:.2f}  {span.label}"
    if not video.spans:
        yield "  no segments"


def _write_segments(out: Path, name: str, videos: Sequence[LabeledVideo], classes: Sequence[str]) -> None:
    """Writes the segments, and says what the format cannot hold of them."""
    form = _format(name)
    # ActivityNet's form for answers with scores knows nothing else of a video; other formats may count frames
    known = {"duration", "fps", "num_frames"} & form.holds if name != "activitynet" else set()
    unknown: dict[str, Any] = {key: None for key in ("duration", "fps", "num_frames") if key not in known}
    written = tuple(sorted((replace(video, **unknown) for video in videos), key=lambda video: video.name))
    used = sorted({span.label for video in videos for span in video.spans})
    table = SpanTable(written, tuple(classes if "classes" in form.holds else used))
    rates = {video.name: video.fps for video in videos if name != "activitynet"}
    rated = replace(table, videos=tuple(replace(video, fps=rates.get(video.name)) for video in written))
    for line in losses(table, form, written=rated):
        print(f"not kept: {line}", file=sys.stderr)
    paths = write_spans(rated, out, name)
    more = f" and {counted(len(paths) - 1, 'more file')}" if len(paths) > 1 else ""
    print(f"written: {paths[0]}{more}", file=sys.stderr)


def _scores_file(target: Path, place: Path, *, alone: bool) -> Path:
    """Returns where the scores of a video go: `target`, or its place in that folder."""
    return target if alone and target.suffix == ".npz" else target / place.with_name(f"{place.name}.npz")


def _write_scores(target: Path, timeline: Timeline, classes: Sequence[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        np.savez_compressed(
            file, times=timeline.times, scores=timeline.scores, class_names=np.array(classes, dtype=np.str_)
        )
    print(f"written: {target}", file=sys.stderr)


def _on_page(video: LabeledVideo, timeline: Timeline, classes: Sequence[str], *, source: str) -> PageVideo:
    label = {name: index for index, name in enumerate(classes)}
    segments = [(span.start, span.end, label[span.label], float(span.score or 0)) for span in video.spans]
    curves = {row: curve(timeline.times, timeline.scores[:, row]) for row in {segment[2] for segment in segments}}
    return PageVideo(video.name, source, timeline.seconds, segments, curves)
