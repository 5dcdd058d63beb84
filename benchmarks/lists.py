"""Measures how long a list of ten million videos takes to read, reopen and shuffle, and how much memory workers add.

`python -m benchmarks.lists` makes a list in a temporary folder and prints a table; the exit code is 1 if a limit is
exceeded. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

if not __package__:  # started as `python benchmarks/lists.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks._page import table, write_section
from datasets.lists.records import RecordList, read_list
from datasets.loader import TrainStream, make_loader
from utils.cli import run_cli
from utils.system import peak_memory

LIMITS = {"read_s": 30.0, "read_gb": 2.0, "reopen_s": 2.0, "worker_growth": 0.05}
ROWS = {  # measurement: title, unit, factor
    "read_s": ("read and checked for the first time", "s", 1.0),
    "read_gb": ("peak memory of that process, Python and torch included", "GB", 1.0),
    "reopen_s": ("reopened from its cache, hash of the list included", "s", 1.0),
    "permutation_s": ("first step of an epoch: the permutation", "s", 1.0),
    "first_late_s": ("first step when resuming in the middle of an epoch", "s", 1.0),
    "worker_mb": ("memory that only the worker has, after all samples", "MB", 1.0),
    "worker_growth": ("its growth over the last nine tenths of them", "%", 100.0),
}
_CLASSES = 400


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lists.py", description=__doc__)
    parser.add_argument("--videos", type=int, default=10_000_000)
    parser.add_argument("--samples", type=int, default=1_000_000, help="videos that the worker reads")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--part", choices=("read", "reopen", "workers"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.part:
        print(*_PARTS[arguments.part](arguments.folder, arguments.samples))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = _write(Path(folder) / "list.txt", arguments.videos)
        size = source.stat().st_size / 1e6
        got: dict[str, float] = {}
        for part, names in (
            ("read", ("read_s", "read_gb")),
            ("reopen", ("reopen_s", "_")),
            ("workers", ("permutation_s", "first_late_s", "worker_mb", "worker_growth")),
        ):
            # one process for each, because a peak of memory never goes down again
            command = [
                sys.executable,
                __file__,
                "--part",
                part,
                "--folder",
                folder,
                "--samples",
                str(arguments.samples),
            ]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            got |= dict(zip(names, map(float, printed), strict=True))
    rows = []
    for name, (title, unit, factor) in ROWS.items():
        limit = f"{factor * LIMITS[name]:g} {unit}" if name in LIMITS else ""
        rows.append([title, f"{factor * got[name]:.3g} {unit}", limit])
    body = (
        f"{arguments.videos:,} lines, {size:.0f} MB of text, paths with spaces; a worker reads {arguments.samples:,}."
    )
    body += "\n\n" + table(["what", "measured", "limit"], rows)
    print(body)
    if arguments.write:
        write_section("Lists of ten million videos", "python -m benchmarks.lists --write", body)
    return 1 if any(got[name] > limit for name, limit in LIMITS.items()) else 0


def _write(source: Path, videos: int) -> Path:
    step = 100_000
    with source.open("w") as file:
        for start in range(0, videos, step):
            file.writelines(
                f"class_{i % _CLASSES:03d}/v_some tag_{i:09d} {i % 300 + 1} {i % _CLASSES}\n"
                for i in range(start, min(start + step, videos))
            )
    return source


def _open(folder: Path) -> RecordList:
    return read_list(folder / "list.txt", num_class=_CLASSES, cache_folder=folder / "cache")


def _timed_open(folder: Path, samples: int) -> tuple[float, float]:
    start = time.perf_counter()
    _open(folder)
    return time.perf_counter() - start, (peak_memory() or 0) / 1e9


class _Paths:
    """A data set of paths only, to measure what the records alone cost in a worker."""

    encoded = True  # there are no pixels, so no memory is shared for them

    def __init__(self, records: RecordList, memory: Any, samples: int) -> None:
        self.records, self.memory = records, memory
        self.read, self.marks = 0, (samples // 10, samples)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        index = key[1]
        length = len(self.records.path(index)) + int(self.records.num_frames[index])
        self.read += 1
        if self.read in self.marks:
            self.memory[self.marks.index(self.read)] = private_bytes()
        clips = np.full((1, 1, 1, 1, 3), length % 256, np.uint8)
        return {"clips": clips, "label": self.records.labels[index], "index": index, "augment": {}, "fault": ""}


def private_bytes() -> float:
    """Returns the bytes of memory that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def _workers(folder: Path, samples: int) -> tuple[float, float, float, float]:
    records = _open(folder)
    memory = multiprocessing.Array("d", 2, lock=False)
    batch = 500
    start = time.perf_counter()
    TrainStream(len(records), batch).step(0)
    permutation = time.perf_counter() - start
    middle = len(records) // batch // 2
    start = time.perf_counter()
    TrainStream(len(records), batch).step(middle)
    late = time.perf_counter() - start
    stream = TrainStream(len(records), batch, stop_step=samples // batch)
    for _ in make_loader(cast(Any, _Paths(records, memory, samples // batch * batch)), stream, workers=1):
        pass
    return permutation, late, memory[1] / 1e6, memory[1] / memory[0] - 1


_PARTS = {"read": _timed_open, "reopen": _timed_open, "workers": _workers}

if __name__ == "__main__":
    run_cli(main)
