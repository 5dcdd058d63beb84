"""Measures where the time of one batch goes, stage by stage, and says which setting would change that."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from benchmarks._readers import make_augment, make_dataset, whole
from benchmarks._workload import Workload
from datasets import frame_dataset
from datasets.loader import TrainStream, make_loader
from utils.transforms import cut_clip as transforms

WORKER_STAGES = ("open", "decode", "resize", "collate", "other")
ADVICE = {
    "open": "data.store: {type: packed} (tools/pack_frames.py) reads few large files instead of many small ones",
    "decode": "common.workers: one per free core; smaller frames (tools/dump_frames.py --size) decode faster, and "
    "common.data.decode: cuda leaves it to the GPU",
    "resize": "common.workers: one per free core; frames dumped near the input size need less of it",
    "collate": "common.workers: one per free core; fewer views per sample",
    "other": "common.workers: one per free core; longer clips have less of it per frame",
    "augment": "common.device: cuda, where it costs next to nothing; on a CPU hue is the dearest part of colorjitter",
}


@dataclass(frozen=True)
class Stages:
    """The time of each stage.

    milliseconds: per stage and batch, medians; "wait" is what the training loop waits with `workers` processes.
    """

    milliseconds: Mapping[str, float]
    workers: int
    frames: int
    frames_per_second: float

    def bottleneck(self) -> tuple[str, str]:
        """Returns the slowest stage of the slower side (all workers, or the training process), and what to change."""
        ms = self.milliseconds
        slowest = max(WORKER_STAGES, key=lambda stage: ms[stage])
        if sum(ms[stage] for stage in WORKER_STAGES) / max(1, self.workers) < ms["augment"]:
            slowest = "augment"
        return slowest, ADVICE[slowest]


def measure(workload: Workload, *, rounds: int, workers: int) -> Stages:
    """Makes batches as a worker does with a clock around every stage, then with `workers` processes."""
    taken: dict[str, list[float]] = defaultdict(list)
    data, augment = make_dataset(workload, workload.store, full=True), make_augment()
    for step in range(rounds):
        with _clocks(workload) as seconds:
            start = time.perf_counter()
            batch = whole(data.__getitems__(workload.batch(step)))
            seconds["resize"] -= seconds["decode"]
            seconds["other"] = time.perf_counter() - start - sum(seconds.values())
        start = time.perf_counter()
        augment.apply(batch.clips, batch.augment)
        seconds["augment"] = time.perf_counter() - start
        for stage, value in seconds.items():
            taken[stage].append(1000 * value)
    wait, speed = _wait(workload, batches=max(8, rounds // 2), workers=workers)
    milliseconds = {stage: float(np.median(taken[stage])) for stage in (*WORKER_STAGES, "augment")} | {"wait": wait}
    return Stages(milliseconds, workers, workload.frames_per_batch, speed)


@contextmanager
def _clocks(workload: Workload) -> Iterator[dict[str, float]]:
    """Adds up what the stages take inside, in seconds."""
    seconds: dict[str, float] = defaultdict(float)
    places = {
        "open": (workload.store, "get_many"),
        "decode": (transforms, "decode_frame"),
        "resize": (transforms.CutClip, "cut"),  # it asks for one decoded frame after another
        "collate": (frame_dataset, "collate"),
    }

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[stage] += time.perf_counter() - start
            return result

        return call

    with ExitStack() as stack:
        for stage, (owner, name) in places.items():
            stack.enter_context(mock.patch.object(owner, name, clocked(stage, getattr(owner, name))))
        yield seconds


def _wait(workload: Workload, *, batches: int, workers: int) -> tuple[float, float]:
    """Returns (median milliseconds that a loop which only augments waits per batch, its frames per second)."""
    data, augment = make_dataset(workload, workload.store, full=True), make_augment()
    stream = TrainStream(len(data), workload.batch_size, stop_step=batches + 2 * workers)
    waits, loader = [], iter(make_loader(data, stream, workers=workers))
    for _ in range(2 * workers):  # what was read ahead while the workers started
        next(loader)
    start = time.perf_counter()
    for _ in range(batches):
        asked = time.perf_counter()
        batch = whole(next(loader))
        waits.append(1000 * (time.perf_counter() - asked))
        augment.apply(batch.clips, batch.augment)
    speed = batches * workload.frames_per_batch / (time.perf_counter() - start)
    return float(np.median(waits)), speed
