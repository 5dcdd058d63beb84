"""What preparing a data set will cost in disk and hours: a few videos are measured, the rest is multiplication."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.stores.frame_names import list_frames
from tools.dumping.measure import Cost, measure_dump
from tools.dumping.pool import run_jobs
from tools.dumping.video import Job
from utils.errors import UserError
from utils.transforms.image import decode_image


def estimate_dump(jobs: Sequence[Job], sample: int, *, workers: int, published: int = 0) -> str:
    """Dumps `sample` videos, spread evenly over the jobs, keeps nothing, and says what all would cost.

    published: how many videos the whole set has, if that is known and not what is here. Raises UserError if none of
    the sample can be dumped.
    """
    jobs = [job for job in jobs if job.source.is_file()]
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
    if not costs:
        why = failed[0] if failed else "none is there"
        raise UserError(f"none of the {len(chosen)} videos of the sample can be dumped; {why}")
    doing = f"dumped by {workers} process{'es' * (workers > 1)}"
    said = _in_words(costs, len(jobs), doing, workers=workers, published=published)
    return said + (f"\nnot counted: {len(failed)} of the sample failed, such as {failed[0]}" if failed else "")


def estimate_frames(folders: Sequence[Path], sample: int, *, published: int = 0) -> str:
    """The same for frames that are there already: their disk, and the hours of decoding each once."""
    costs = [measure_folder(folders[place]) for place in _spread(len(folders), sample)]
    return _in_words(costs, len(folders), "decoded by 1 process", workers=1, published=published)


def measure_folder(folder: Path) -> Cost:
    """Decodes the frames of one folder."""
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
        took = _time(seconds * times / processes)
        lines.append(f"  {name:{width}}  {frames * times:12,.0f} frames  {_bytes(size * times):>9}  {took:>12}")
    return "\n".join(lines)


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.4g} TB"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.3g} s"
        if seconds < 60
        else f"{seconds / 60:.3g} min"
        if seconds < 3600
        else f"{seconds / 3600:.3g} h"
    )
