"""Measures what encoding videos for training saves and costs, on a few of them: bytes, time to decode, pixels."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.places.files import is_plain, member_extent, size_of
from datasets.places.place import Place, is_address, place
from datasets.sampling.rules import segments_train
from datasets.videos.reader import read_pyav
from datasets.videos.scan import VideoTimes, scan
from tools.dumping.estimate import in_bytes, in_time
from tools.dumping.pool import run_jobs
from tools.dumping.transcode import SUFFIX, Encoding, transcode
from utils.cli import Progress
from utils.errors import FrameError, UserError

SAMPLE = 10  # videos
_LONGEST = 60.0  # seconds of each
_CLIPS, _SEGMENTS = 3, 8  # clips of a video, frames of a clip
_LEVELS = 255


@dataclass(frozen=True)
class Trade:
    """Holds what was measured on one video, or on the beginning of a long one.

    before, after: bytes of that part. seconds: that it lasts. encoding: seconds of one process. decoding: milliseconds
    of the processor for a clip, before and after. wrong, squares: mean difference of the pixels in grey levels, and
    mean of its square.
    """

    before: float
    after: float
    seconds: float
    encoding: float
    decoding: tuple[float, float]
    wrong: float
    squares: float


@dataclass(frozen=True)
class Job:
    """Describes a video to measure. out: a file for what is encoded. seed: of the clips."""

    source: str
    out: Path
    encoding: Encoding
    seed: int


def measure_trade(sources: Sequence[str], encoding: Encoding, *, sample: int, workers: int) -> str:
    """Encodes `sample` videos drawn from all, keeps nothing, and returns in words what all would save and cost.

    Raises UserError if none of the sample can be encoded.
    """
    chosen = sorted(np.random.default_rng(0).choice(len(sources), min(sample, len(sources)), replace=False).tolist())
    trades: list[Trade] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = [Job(sources[at], Path(folder) / f"{at}{SUFFIX}", encoding, at) for at in chosen]
        with Progress(len(jobs), unit="videos measured") as progress:
            for job, answer in run_jobs(measure, jobs, workers=min(workers, len(jobs)), started=lambda _: None):
                if isinstance(answer, Trade):
                    trades.append(answer)
                else:
                    text = str(answer)
                    failed.append(text if job.source in text else f"{job.source}: {text}")
                progress.advance(1)
    if not trades:
        raise UserError(f"none of the {len(failed)} videos of the sample can be packed: {failed[0]}")
    said = in_words(trades, encoding, _all_bytes(sources, chosen), len(sources), workers=workers)
    return said + (f"\n  not counted: {len(failed)} of the sample failed, such as {failed[0]}" if failed else "")


def _all_bytes(sources: Sequence[str], chosen: Sequence[int]) -> float:
    """Returns the bytes of all videos; of some at addresses, which would be a question for each, from the sample."""
    if any(map(is_address, sources)):
        return float(np.mean([_size(sources[at]) for at in chosen])) * len(sources)
    return sum(map(_size, sources))


def in_words(trades: Sequence[Trade], encoding: Encoding, size: float, count: int, *, workers: int) -> str:
    """Returns a table of what was measured, and what all videos would save and cost. size: bytes of all."""
    before, after, seconds, work = (
        sum(getattr(one, name) for one in trades) for name in ("before", "after", "seconds", "encoding")
    )
    decoding = np.mean([one.decoding for one in trades], axis=0).tolist()
    wrong, squares = (float(np.mean([getattr(one, name) for one in trades])) for name in ("wrong", "squares"))
    noise = f", PSNR {10 * np.log10(_LEVELS**2 / squares):.1f} dB" if squares else ""
    share = after / before
    rows = [
        ("", "as they are", "packed", ""),
        ("one second", in_bytes(before / seconds), in_bytes(after / seconds), f"{share:.2f} x the bytes"),
        (
            f"a clip of {_SEGMENTS} frames",
            *(f"{number:.3g} ms" for number in decoding),
            f"{decoding[0] / decoding[1]:.2f} x as fast to decode, by one core",
        ),
        (
            f"all {count} videos",
            in_bytes(size),
            in_bytes(size * share),
            f"{in_time(size * work / before / workers)} by {workers} process{'es' * (workers > 1)}",
        ),
    ]
    lines = [f"{len(trades)} of {count} videos measured: {encoding}"]
    lines += [f"  {what:18} {one:>12} {other:>10}   {more}".rstrip() for what, one, other, more in rows]
    same = "the same pictures before they are encoded"
    return "\n".join([*lines, f"  pixels differ from {same} by {wrong:.2f} of {_LEVELS} grey levels{noise}"])


def measure(job: Job) -> Trade:
    """Measures one video in a worker. Raises: FrameError."""
    cv2.setNumThreads(0)
    source = place(job.source)
    times = scan(source)
    until = min(_LONGEST, times.duration or _LONGEST)
    expected = min(until, times.duration) * (job.encoding.fps if job.encoding.lowers(_rate(times)) else _rate(times))
    every, kept = max(int(expected) // (_CLIPS * _SEGMENTS), 1), dict[int, np.ndarray]()

    def keep(number: int, picture: np.ndarray) -> None:
        if number % every == 0 and len(kept) < 2 * _CLIPS * _SEGMENTS:
            kept[number] = picture.copy()

    begin = time.perf_counter()
    made = transcode(source, job.out, job.encoding, until=until, seen=keep).times
    encoding = time.perf_counter() - begin
    pictures = read_pyav(job.out, made, np.array(list(kept)))
    away = [np.abs(one.astype(np.float32) - other) for one, other in zip(pictures, kept.values(), strict=True)]
    wrong, squares = np.mean([(one.mean(), (one**2).mean()) for one in away], axis=0).tolist()
    shown = int(np.searchsorted(times.seconds, until))
    return Trade(
        before=_size(job.source) * shown / len(times),
        after=job.out.stat().st_size,
        seconds=made.duration or 1 / 25,
        encoding=encoding,
        decoding=_decoding(source, times, shown, job.out, made, job.seed),
        wrong=wrong,
        squares=squares,
    )


def _decoding(
    source: Place, times: VideoTimes, shown: int, out: Path, made: VideoTimes, seed: int
) -> tuple[float, float]:
    """Returns the milliseconds of a clip of training from both files, opening included, which are read by turns."""
    rng, took = np.random.default_rng(seed), np.zeros((_CLIPS, 2))
    for clip in range(_CLIPS):
        for place_of, (path, known, count) in enumerate(((source, times, shown), (out, made, len(made)))):
            indices = segments_train(count, _SEGMENTS, rng)
            begin = time.thread_time()
            read_pyav(path, known, indices)
            took[clip, place_of] = 1000 * (time.thread_time() - begin)
    before, after = np.median(took, axis=0).tolist()
    return before, after


def _rate(times: VideoTimes) -> float:
    return len(times) / times.duration if times.duration else 25.0


def _size(source: str) -> int:
    """Returns the bytes of a video; 0 of one that is not there."""
    try:
        extent = member_extent(source) if not is_plain(source) else None
        return max(size_of(place(source)), 0) if extent is None else extent[3] - extent[2]
    except (FrameError, OSError):
        return 0
