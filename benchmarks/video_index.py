"""Measures the index of ten million made-up videos: bytes, seconds to find them all in it, and memory.

`python -m benchmarks.video_index` makes the index in a temporary folder and prints a table; the exit code is 1 if a
limit is exceeded. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

if not __package__:  # started as `python benchmarks/video_index.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks._page import table, write_section
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes
from datasets.videos.scanned import DIGEST, Writer, open_all
from utils.cli import run_cli
from utils.system import peak_memory

LIMITS = {"gb": 2.0, "find_gb": 2.0, "step_s": 2.0, "more_s": 10.0}
ROWS = {  # measurement: title, unit
    "gb": ("size of the index", "GB"),
    "bytes": ("of it, for one video", "bytes"),
    "find_s": ("all of them found again and compared with their checksums", "s"),
    "find_gb": ("peak memory of that process, Python included", "GB"),
    "read_us": ("times of one video read from it", "us"),
    "step_s": ("first step of an epoch: which videos, and their times", "s"),
    "more_s": ("a list of MANY known videos, and one new, opened", "s"),
}
_MANY, _KINDS = 100_000, 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="video_index.py", description=__doc__)
    parser.add_argument("--videos", type=int, default=10_000_000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--part", choices=tuple(_PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.part:
        print(*_PARTS[arguments.part](arguments.folder, arguments.videos))
        return 0
    got: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part, names in (
            ("make", ("gb", "bytes")),
            ("find", ("find_s", "find_gb", "read_us", "step_s")),
            ("more", ("more_s",)),
        ):
            # one process for each, because a peak of memory never goes down again
            command = [sys.executable, __file__, "--part", part, "--folder", folder, "--videos", str(arguments.videos)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            got |= dict(zip(names, map(float, printed), strict=True))
    rows = [
        [
            title.replace("MANY", f"{_MANY:,}"),
            f"{got[name]:.3g} {unit}",
            f"{LIMITS[name]:g} {unit}" if name in LIMITS else "",
        ]
        for name, (title, unit) in ROWS.items()
    ]
    body = (
        f"{arguments.videos:,} videos of 150 to 450 frames, key frames up to 250 frames apart, a third in Matroska.\n\n"
    )
    body += table(["what", "measured", "limit"], rows)
    print(body)
    if arguments.write:
        write_section("An index of ten million videos", "python -m benchmarks.video_index --write", body)
    return 1 if any(got[name] > limit for name, limit in LIMITS.items()) else 0


def _times(rng: np.random.Generator) -> VideoTimes:
    """Makes up a video as encoders write it: a key frame at each cut, and after 250 frames at the latest."""
    count = int(rng.integers(150, 450))
    if rng.random() < 1 / 3:
        stamps, tick = np.rint(np.arange(count) * 1000 / 29.97).astype(np.int64), 1e-3
    else:
        stamps, tick = np.arange(count) * 512, 1 / 15360
    cuts = rng.integers(1, count, rng.poisson(count / 100))
    return VideoTimes(stamps, stamps[np.unique([0, *cuts, *range(0, count, 250)])], tick, True, size=(256, 340))


def identities(count: int) -> np.ndarray:
    """Returns the identities of the made-up videos, uint8 (count, DIGEST)."""
    return np.random.default_rng(1).integers(0, 256, (count, DIGEST), np.uint8)


def make_index(folder: Path, videos: int) -> None:
    """Writes an index of made-up videos as `Writer` would, in blocks."""
    rng = np.random.default_rng(0)
    writer, digests = Writer(folder), identities(videos)
    kinds = [_times(rng) for _ in range(_KINDS)]
    for place in range(min(_KINDS, videos)):
        writer.add(digests[place].tobytes(), kinds[place])
    writer.close()
    (pair,) = open_all(folder)[0].pairs
    found, pattern = Path(f"{pair.stem}.found").read_bytes(), pair.rows.copy()
    with Path(f"{pair.stem}.rows").open("ab") as rows_file, Path(f"{pair.stem}.found").open("ab") as found_file:
        for first in range(_KINDS, videos, _KINDS):
            rows = pattern[: videos - first].copy()
            view = rows.view(np.uint8).reshape(len(rows), -1)
            view[:, :DIGEST] = digests[first : first + len(rows)]
            rows["offset"] += first // _KINDS * len(found)
            for place, row in enumerate(view[:, :-4]):
                start = int(pattern["offset"][place])
                piece = found[start : start + int(pattern["length"][place])]
                rows["check"][place] = zlib.crc32(piece, zlib.crc32(row))
            rows_file.write(rows.tobytes())
            found_file.write(found)


def _make(folder: Path, videos: int) -> tuple[float, float]:
    make_index(folder / "cache", videos)
    size = sum(file.stat().st_size for file in (folder / "cache").iterdir())
    return size / 1e9, size / videos


def _find(folder: Path, videos: int) -> tuple[float, float, float, float]:
    digests = identities(videos)
    start = time.perf_counter()
    scanned, _ = open_all(folder / "cache")
    rows = scanned.find(digests)
    seconds, memory = time.perf_counter() - start, (peak_memory() or 0) / 1e9
    if not (rows == np.arange(videos)).all():
        raise RuntimeError("the index has other videos than were put into it")
    chosen = np.random.default_rng(2).integers(0, videos, 10_000).tolist()
    start = time.perf_counter()
    for row in chosen:
        scanned.get(row)
    one = (time.perf_counter() - start) / len(chosen) * 1e6
    from datasets.loader import TrainStream  # here, because it brings torch, whose memory is not the index's

    start = time.perf_counter()
    for _, video in TrainStream(videos, 32).step(0):
        scanned.get(int(rows[video]))
    return seconds, memory, one, time.perf_counter() - start


def _more(folder: Path, videos: int) -> tuple[float]:
    """Opens a list of real files of which all but one are known."""
    paths = [str(folder / f"{number}.mp4") for number in range(_MANY + 1)]
    for path in paths:
        Path(path).write_bytes(b"no video")
    index_videos(paths[:-1], cache=folder / "cache")
    start = time.perf_counter()
    index_videos(paths, cache=folder / "cache")
    return (time.perf_counter() - start,)


_PARTS = {"make": _make, "find": _find, "more": _more}

if __name__ == "__main__":
    run_cli(main)
