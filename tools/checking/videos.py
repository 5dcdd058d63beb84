"""Checks encoded videos: missing or damaged files, and parts that begin after the end of their video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.spans import not_there
from datasets.lists.spelling import Spelling
from datasets.lists.tables import read_videos
from datasets.places.files import exists
from datasets.videos.scan import VideoTimes
from datasets.videos.video import Video
from tools.checking.lists import DataSet, Entry
from tools.dumping.pool import WorkerDiedError, run_in_pool
from utils.cli import Progress
from utils.errors import FrameError

Span = tuple[float, float, bool]  # start, end, whether they are frames


@dataclass(frozen=True)
class _Job:
    path: Path
    decode: bool
    spans: frozenset[Span]


@dataclass(frozen=True)
class _Seen:
    """Holds what was found in a video.

    error: what is wrong with it; "" if nothing.
    empty: the spans that are not in it.
    last: seconds at which its last frame is shown.
    """

    error: str
    empty: frozenset[Span] = frozenset()
    last: float = 0.0


def take_table(data: DataSet, split: str, *, encoded: bool) -> None:
    """Reads a folder of classes or a CSV as the lines of a split. Raises ListError if it is neither.

    encoded: whether its paths are encoded videos, not folders of frames.
    """
    records, _ = read_videos(
        data.sources[split],
        root=data.roots[split],
        classes=data.classes,
        multi_label=data.multi_label,
        unlabelled=split != "train",
        encoded=encoded,
    )
    data.roots[split] = Path(records.root)
    spelling = Spelling(records.root)
    for index in range(len(records)):
        target = np.asarray(records.labels[index])
        labels = [int(target.min())] if not target.ndim or target.min() < 0 else np.flatnonzero(target).tolist()
        line = records.line(index)
        path, span = spelling.of(records.path(index)), records.span(index)
        data.entries.append(Entry(split, line, path, 0, tuple(labels), span, records.in_frames))


def check_videos(data: DataSet, *, decode: bool, workers: int) -> None:
    """Checks the file of every line that has no fault so far. decode: decodes every frame as well, as a dump would."""
    entries = data.without_fault()
    spans: dict[Path, set[Span]] = defaultdict(set)
    for entry in entries:
        parts = spans[data.roots[entry.split] / entry.path]
        if entry.span is not None:
            parts.add((*entry.span, entry.in_frames))
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
        if not exists(path):
            data.blame("missing_video", entry, f"video not found: {path}", fix="the line is removed", drop=True)
        elif found[path].error:
            data.blame("undecodable_video", entry, found[path].error, fix="the line is removed", drop=True)
        elif entry.span is not None and (*entry.span, entry.in_frames) in found[path].empty:
            what = f"{path}: {not_there(frames=entry.in_frames)}; its last frame is shown at {found[path].last:.2f} s"
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
    empty = frozenset(span for span in job.spans if _is_outside(times, *span))
    return _Seen("", empty, float(times.clock[-1]))


def _is_outside(times: VideoTimes, start: float, end: float, in_frames: bool) -> bool:
    if in_frames:
        return end > len(times)
    first, last = times.frames_between(start, end)
    return first == last
