"""What can be wrong with encoded videos: not there, nothing that can be decoded, damaged somewhere on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.video_lists import read_videos
from tools._cli import Progress
from tools._doctor import DataSet, Entry
from tools._pool import WorkerDiedError, run_jobs
from utils.errors import FrameError
from utils.video import Video


@dataclass(frozen=True)
class _Job:
    path: Path
    decode: bool


def take_videos(data: DataSet, split: str) -> None:
    """The videos of a folder of classes or of a CSV as the lines of a split. Raises ListError for what is none."""
    records, names = read_videos(
        data.sources[split], root=data.roots[split], class_names=data.class_file, multi_label=data.multi_label
    )
    data.roots[split] = records.root
    data.names = data.names or names
    if data.names is not None:
        data.num_class = len(data.names)
    for index in range(len(records)):
        target = records.labels[index]
        labels = np.flatnonzero(target).tolist() if data.multi_label else [int(target)]
        line = int(records.where(index).rpartition(":")[2])
        data.entries.append(Entry(split, line, records.path(index), 0, tuple(labels)))


def check_videos(data: DataSet, *, decode: bool, workers: int) -> None:
    """Looks at the file of every line that has no fault yet. decode: also at every frame, as dumping would."""
    entries = [entry for entry in data.entries if not entry.drop and not entry.known]
    jobs = [_Job(path, decode) for path in dict.fromkeys(data.roots[entry.split] / entry.path for entry in entries)]
    found: dict[Path, str] = {}
    with Progress(len(jobs), unit="videos") as progress:
        for job, answer in _answers(jobs, workers):
            if isinstance(answer, WorkerDiedError):
                answer = f"the decoder crashed: {answer}"
            elif isinstance(answer, Exception):
                raise answer
            found[job.path] = answer
            progress.advance(1)
    for entry in entries:
        path = data.roots[entry.split] / entry.path
        if not path.is_file():
            data.blame("missing_video", entry, f"video not found: {path}", fix="the line is removed", drop=True)
        elif found[path]:
            data.blame("undecodable_video", entry, found[path], fix="the line is removed", drop=True)


def _answers(jobs: list[_Job], workers: int) -> Iterable[tuple[_Job, Any]]:
    if workers == 1 or len(jobs) == 1:
        return ((job, inspect(job)) for job in jobs)
    return run_jobs(inspect, jobs, workers=workers, started=lambda _: None)


def inspect(job: _Job) -> str:
    """What is wrong with a video, "" if nothing; runs in a worker."""
    try:
        video = Video(job.path)
        if not len(video.info.times):
            return f"{job.path}: there is no frame in it"
        if job.decode:
            for _ in video.frames(order="bgr"):
                pass
    except FrameError as error:
        return str(error)
    return f"{job.path}: {'; '.join(video.errors[:3])}" if video.errors else ""
