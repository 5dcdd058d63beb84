"""Checks encoded videos: missing or damaged files, and parts that begin after the end of their video."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.spelling import Spelling
from datasets.lists.tables import read_videos
from datasets.videos.video import Video
from tools.checking.lists import DataSet, Entry
from tools.dumping.pool import WorkerDiedError, run_in_pool
from utils.cli import Progress
from utils.errors import FrameError

Span = tuple[float, float]


@dataclass(frozen=True)
class _Job:
    path: Path
    decode: bool
    spans: frozenset[Span]


@dataclass(frozen=True)
class _Seen:
    """Holds what was found in a video.

    error: what is wrong with it; "" if nothing.
    empty: the spans that contain no frame of it.
    last: seconds at which its last frame is shown.
    """

    error: str
    empty: frozenset[Span] = frozenset()
    last: float = 0.0


def take_videos(data: DataSet, split: str) -> None:
    """Reads a folder of classes or a CSV as the lines of a split. Raises ListError if it is neither."""
    records, _ = read_videos(
        data.sources[split],
        root=data.roots[split],
        classes=data.classes,
        multi_label=data.multi_label,
        unlabelled=split != "train",
    )
    data.roots[split] = records.root
    spelling = Spelling(records.root)
    for index in range(len(records)):
        target = np.asarray(records.labels[index])
        labels = [int(target.min())] if not target.ndim or target.min() < 0 else np.flatnonzero(target).tolist()
        line = int(records.where(index).rpartition(":")[2])
        start, end = (math.nan, math.nan) if records.spans is None else records.spans[index].tolist()
        span = None if math.isnan(start) else (start, end)
        data.entries.append(Entry(split, line, spelling.of(records.path(index)), 0, tuple(labels), span))


def check_videos(data: DataSet, *, decode: bool, workers: int) -> None:
    """Checks the file of every line that has no fault so far. decode: decodes every frame as well, as a dump would."""
    entries = data.without_fault()
    spans: dict[Path, set[Span]] = defaultdict(set)
    for entry in entries:
        parts = spans[data.roots[entry.split] / entry.path]
        if entry.span is not None:
            parts.add(entry.span)
    jobs = [_Job(path, decode, frozenset(parts)) for path, parts in spans.items()]
    found: dict[Path, _Seen] = {}
    with Progress(len(jobs), unit="videos") as progress:
        for job, answer in run_in_pool(inspect, jobs, workers=workers):
            if isinstance(answer, WorkerDiedError):
                answer = _Seen(f"the decoder crashed: {answer}")
            elif isinstance(answer, Exception):
                raise answer
            found[job.path] = answer
            progress.advance(1)
    for entry in entries:
        path = data.roots[entry.split] / entry.path
        if not path.is_file():
            data.blame("missing_video", entry, f"video not found: {path}", fix="the line is removed", drop=True)
        elif found[path].error:
            data.blame("undecodable_video", entry, found[path].error, fix="the line is removed", drop=True)
        elif entry.span is not None and entry.span in found[path].empty:
            start, end = entry.span
            what = f"{path}: no frame from {start:g} to {end:g} s; the last frame is shown at {found[path].last:.2f} s"
            data.blame("empty_part", entry, what, fix="the line is removed", drop=True)


def inspect(job: _Job) -> _Seen:
    """Inspects a video; runs in a worker."""
    try:
        video = Video(job.path)
        times = video.info.times
        if not len(times):
            return _Seen(f"{job.path}: contains no frames")
        if job.decode:
            for _ in video.frames(order="bgr"):
                pass
    except FrameError as error:
        return _Seen(str(error))
    if video.errors:
        return _Seen(f"{job.path}: {'; '.join(video.errors[:3])}")
    bounds = {span: times.frames_between(*span) for span in job.spans}
    empty = frozenset(span for span, (first, last) in bounds.items() if first == last)
    return _Seen("", empty, float(times.clock[-1]))
