"""Estimates the disk space and the hours that a data set costs: measures a few videos and multiplies."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.stores.frame_names import list_frames
from tools.dumping.pool import run_jobs
from tools.dumping.video import Job, dump_video
from utils.errors import UserError
from utils.transforms.image import decode_image


@dataclass(frozen=True)
class Cost:
    """Holds what was measured on one video.

    frames: number of its frames.
    size: bytes of its frames.
    seconds: time of one process.
    """

    frames: int
    size: int
    seconds: float


def estimate_dump(jobs: Sequence[Job], sample: int, *, workers: int, published: int = 0) -> str:
    """Dumps `sample` videos spread evenly over the jobs, keeps nothing, and returns in words what all would cost.

    published: number of videos of the whole set, if it is known and differs from the number of jobs.

    Raises UserError if no video of the sample can be dumped.
    """
    jobs = [job for job in jobs if job.source.is_file()]
    costs, failed = measure_sample(jobs, sample, workers=workers)
    if not costs:
        why = failed[0] if failed else "no video file exists"
        raise UserError(f"none of the {len(failed)} videos of the sample can be dumped: {why}")
    doing = f"dumped by {workers} process{'es' * (workers > 1)}"
    said = _in_words(costs, len(jobs), doing, workers=workers, published=published)
    return said + (f"\nnot counted: {len(failed)} of the sample failed, such as {failed[0]}" if failed else "")


def measure_sample(jobs: Sequence[Job], sample: int, *, workers: int) -> tuple[list[Cost], list[str]]:
    """Dumps `sample` videos spread evenly over the jobs and keeps nothing; returns their costs, and what failed."""
    chosen = [jobs[place] for place in _spread(len(jobs), sample)]
    costs: list[Cost] = []
    failed: list[str] = []
    place = next((parent for job in chosen for parent in job.out.absolute().parents if parent.is_dir()), None)
    with tempfile.TemporaryDirectory(prefix=".estimate.", dir=place) as folder:
        todo = [replace(job, out=Path(folder)) for job in chosen]
        for job, answer in run_jobs(measure_dump, todo, workers=min(workers, len(todo)) or 1, started=lambda _: None):
            if isinstance(answer, Cost):
                costs.append(answer)
            else:
                failed.append(f"{job.source}: {answer}")
    return costs, failed


def estimate_frames(folders: Sequence[Path], sample: int, *, published: int = 0) -> str:
    """Returns in words what frames that exist already cost: their disk space, and the hours to decode each once."""
    costs = [measure_folder(folders[place]) for place in _spread(len(folders), sample)]
    return _in_words(costs, len(folders), "decoded by 1 process", workers=1, published=published)


def measure_dump(job: Job) -> Cost:
    """Measures the dump of one video; runs in a worker. Raises UserError if it cannot be dumped."""
    began = time.perf_counter()
    answer = dump_video(job)
    if answer["status"] == "failed":
        raise UserError(answer["errors"][0])
    size = sum(file.stat().st_size for file in job.target.iterdir())
    return Cost(answer["frames"], size, time.perf_counter() - began)


def measure_folder(folder: Path) -> Cost:
    """Measures decoding the frames of one folder. Raises UserError for a missing or unreadable frame."""
    began = time.perf_counter()
    series = list_frames(folder)
    if not series:
        raise UserError(f"{folder}: holds no numbered images")
    names, size = series[0], 0
    for number in range(names.first, names.last + 1):
        file = folder / names.template.format(number)
        try:
            data = file.read_bytes()
            decode_image(data)
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: not a readable image: {error}") from None
        size += len(data)
    return Cost(names.count, size, time.perf_counter() - began)


def _spread(count: int, sample: int) -> list[int]:
    places: list[int] = np.unique(np.linspace(0, max(count - 1, 0), min(sample, count)).astype(int)).tolist()
    return places


def _in_words(costs: Sequence[Cost], count: int, doing: str, *, workers: int, published: int) -> str:
    frames, size, seconds = np.mean([(cost.frames, cost.size, cost.seconds) for cost in costs], axis=0).tolist()
    lines = [f"{len(costs)} of {count} videos measured, {doing}, and multiplied; nothing was kept"]
    rows = [("one video", 1, 1), (f"all {count} here", count, workers)]
    if published not in (0, count):
        rows.append((f"all {published} published", published, workers))
    width = max(len(name) for name, _, _ in rows)
    for name, times, processes in rows:
        took = in_time(seconds * times / processes)
        lines.append(f"  {name:{width}}  {frames * times:12,.0f} frames  {in_bytes(size * times):>9}  {took:>12}")
    return "\n".join(lines)


def in_bytes(number: float) -> str:
    """Returns a number of bytes with its unit: `31.2 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.4g} TB"


def in_time(seconds: float) -> str:
    """Returns a number of seconds with its unit: `3.2 min`."""
    return (
        f"{seconds:.3g} s"
        if seconds < 60
        else f"{seconds / 60:.3g} min"
        if seconds < 3600
        else f"{seconds / 3600:.3g} h"
    )
