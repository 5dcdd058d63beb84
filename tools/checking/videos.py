"""Checks encoded videos: missing or damaged files, and spans that are not in their video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.shards import find_shards
from datasets.lists.spans import not_there
from datasets.lists.spelling import Spelling
from datasets.lists.tables import TABLES, read_table, read_videos
from datasets.places.files import exists, open_tar, versioned
from datasets.places.tars import SUFFIX
from datasets.spans.video_files import seconds_of
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes
from datasets.videos.video import Video
from tools.checking.classes import mended_labels
from tools.checking.lists import DataSet, Entry, Fault
from tools.checking.spans import check_within, mended_rows
from tools.dumping.pool import WorkerDiedError, run_in_pool
from utils.cli import Progress
from utils.errors import FrameError

Span = tuple[float, float, bool]  # start, end, whether they are frames


@dataclass(frozen=True)
class _Job:
    path: Path
    spans: frozenset[Span]


@dataclass(frozen=True)
class _Seen:
    """Holds what was found in a video.

    error: what is wrong with it; "" if nothing.
    empty: the spans that are not in it.
    last: seconds at which its last frame is shown.
    seconds, frames: how long it is.
    """

    error: str
    empty: frozenset[Span] = frozenset()
    last: float = 0.0
    seconds: float = 0.0
    frames: int = 0


def leave_out_tars(data: DataSet, split: str) -> None:
    """Finds tars of a split that are missing or damaged, and leaves them out of its list, so that the rest is checked.

    Raises ListError if nothing matches the list's pattern. Without any tar that can be read, the list stays as it is.
    """
    folder, names = find_shards(data.sources[split])
    kept, faults = [], []
    for name in names:
        try:
            open_tar(folder / name)
            kept.append(name.removesuffix(SUFFIX))
        except FrameError as error:
            faults.append(Fault("tar", f"{data.sources[split]}: {error}", split, path=name))
    if faults and kept and not any(set(name) & set("{},*") for name in kept):
        data.faults += faults
        data.sources[split] = Path(folder, f"{{{','.join(kept)}}}{SUFFIX}")


def take_table(data: DataSet, split: str, *, encoded: bool) -> None:
    """Reads a folder of classes or a CSV as the lines of a split. Raises ListError if it is neither.

    encoded: whether its paths are encoded videos, not folders of frames.
    """
    source = data.sources[split]
    moved: set[int] = set()
    table = read_table(source) if source.suffix.lower() in TABLES and not source.is_dir() else None
    if table is not None:
        table, moved = mended_rows(data, split, mended_labels(data, split, table))
    records, _ = read_videos(
        source,
        root=data.roots[split],
        classes=data.classes,
        multi_label=data.multi_label,
        unlabelled=split != "train" and not data.empty,
        empty=data.empty is not False,
        encoded=encoded,
        table=table,
        shared=False,  # faults are found in what the rows say, and --fix writes that
        alone=False,
    )
    data.roots[split] = Path(records.root)
    if data.empty is None and split == "train" and (left := int(np.count_nonzero(~records.labelled))):
        what = "video has neither a label nor a span" if left == 1 else "videos have neither a label nor a span"
        data.notes.append(f"{source}: {left} {what}, which only type: segment takes, as one without spans")
    spelling = Spelling(records.root)
    for index in range(len(records)):
        target = np.asarray(records.labels[index])
        labels = [int(target.min())] if not target.ndim or target.min() < 0 else np.flatnonzero(target).tolist()
        line = records.line(index)
        path, span = spelling.of(records.path(index)), records.span(index)
        entry = Entry(split, line, path, 0, tuple(labels), span, records.in_frames, moved=line in moved)
        data.entries.append(entry)


def check_videos(data: DataSet, *, decode: bool, workers: int, cache: str | None = None) -> None:
    """Checks the file of every line that has no fault so far.

    decode: decodes every frame, as a dump would; else it is what the index for training finds, or has found before.
    cache: folder of that index; by default the user's cache folder.
    """
    entries = data.without_fault()
    spans: dict[Path, set[Span]] = defaultdict(set)
    for entry in entries:
        parts = spans[data.roots[entry.split] / entry.path]
        if entry.span is not None:
            parts.add((*entry.span, entry.in_frames))
    found = _decoded(spans, workers) if decode else _scanned(spans, workers, cache)
    for entry in entries:
        path = data.roots[entry.split] / entry.path
        try:
            there = exists(path)
        except FrameError as error:  # it is empty, or its tar is damaged
            data.blame("undecodable_video", entry, str(error), fix="the line is removed", drop=True)
            continue
        if not there:
            data.blame("missing_video", entry, f"video not found: {path}", fix="the line is removed", drop=True)
        elif found[path].error:
            data.blame("undecodable_video", entry, found[path].error, fix="the line is removed", drop=True)
        elif entry.span is not None:
            _check_span(data, entry, found[path])


def _check_span(data: DataSet, entry: Entry, seen: _Seen) -> None:
    """Adds a fault of a line whose span is not, or not wholly, in its video."""
    assert entry.span is not None
    empty = (*entry.span, entry.in_frames) in seen.empty
    fps = seen.frames / seen.seconds if seen.seconds else 0.0
    check_within(data, entry, length=seen.frames if entry.in_frames else seen.seconds, fps=fps)
    if empty and not entry.known:
        path = data.roots[entry.split] / entry.path
        what = f"{path}: {not_there(frames=entry.in_frames)}; its last frame is shown at {seen.last:.2f} s"
        data.blame("empty_part", entry, what, fix="the line is removed", drop=True)


def _scanned(spans: Mapping[Path, set[Span]], threads: int, cache: str | None) -> dict[Path, _Seen]:
    index, found = index_videos(versioned([str(path) for path in spans]), cache=cache, threads=threads), {}
    for place, (path, parts) in enumerate(spans.items()):
        if place in index.errors:
            found[path] = _Seen(index.errors[place])
            continue
        found[path] = _seen(index[place], parts)
    return found


def _decoded(spans: Mapping[Path, set[Span]], workers: int) -> dict[Path, _Seen]:
    jobs = [_Job(path, frozenset(parts)) for path, parts in spans.items()]
    found: dict[Path, _Seen] = {}
    with Progress(len(jobs), unit="videos") as progress:
        for job, answer in run_in_pool(inspect, jobs, workers=workers):
            if isinstance(answer, WorkerDiedError):
                answer = _Seen(f"the decoder crashed: {answer}")
            elif isinstance(answer, Exception):
                raise answer
            found[job.path] = answer
            progress.advance(1)
    return found


def inspect(job: _Job) -> _Seen:
    """Decodes a video from start to end; runs in a worker."""
    try:
        video = Video(job.path)
        times = video.info.times
        if not len(times):
            return _Seen(f"{job.path}: contains no frames")
        for _ in video.frames(order="bgr"):
            pass
    except FrameError as error:
        return _Seen(str(error))
    if video.errors:
        return _Seen(f"{job.path}: {'; '.join(video.errors[:3])}")
    return _seen(times, job.spans)


def _seen(times: VideoTimes, spans: Collection[Span]) -> _Seen:
    empty = frozenset(span for span in spans if _is_outside(times, *span))
    return _Seen("", empty, float(times.clock[-1]), seconds_of(times), len(times))


def _is_outside(times: VideoTimes, start: float, end: float, in_frames: bool) -> bool:
    if in_frames:
        return end > len(times)
    first, last = times.frames_between(start, end)
    return first == last
