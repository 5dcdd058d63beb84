"""Where the time of one batch goes, stage by stage, and which setting would change that."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks._readers import frame_indices, make_augment, make_dataset, whole
from benchmarks._workload import Workload
from datasets.loader import TrainStream, make_loader
from utils.batch import collate
from utils.decode import decode_image
from utils.transforms import empty_clips

WORKER_STAGES = ("open", "decode", "resize", "collate")
ADVICE = {
    "open": "data.store: {type: packed} (tools/pack_frames.py) reads few large files instead of many small ones",
    "decode": "common.workers: one per free core; smaller frames (tools/dump_frames.py --size) decode faster, and "
    "common.data.decode: cuda leaves it to the GPU",
    "resize": "common.workers: one per free core; frames dumped near the input size need less of it",
    "collate": "common.workers: one per free core; fewer views per sample",
    "augment": "common.device: cuda, where it costs next to nothing; on a CPU hue is the dearest part of colorjitter",
}


@dataclass(frozen=True)
class Stages:
    """milliseconds: per stage and batch, medians; "wait" is what the training loop waits with `workers` processes."""

    milliseconds: Mapping[str, float]
    workers: int
    frames: int
    frames_per_second: float

    def bottleneck(self) -> tuple[str, str]:
        """The slowest stage of the slower side (workers together, or the training process), and what to change."""
        ms = self.milliseconds
        slowest = max(WORKER_STAGES, key=lambda stage: ms[stage])
        if sum(ms[stage] for stage in WORKER_STAGES) / max(1, self.workers) < ms["augment"]:
            slowest = "augment"
        return slowest, ADVICE[slowest]


def measure(workload: Workload, *, rounds: int, workers: int) -> Stages:
    """Runs the stages one after the other, then the loader with `workers` processes."""
    taken: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        taken[stage].append(1000 * (time.perf_counter() - start))

    data, augment = make_dataset(workload, workload.store, full=True), make_augment()
    spatial, store, size = data.spatial, workload.store, (workload.input_size, workload.input_size)
    for step in range(rounds):
        keys = workload.batch(step)
        with clock("open"):
            coded = [store.get_many(workload.records.path(key[1]), frame_indices(data, key)) for key in keys]
        with clock("decode"):
            frames = [[decode_image(frame) for frame in clip] for clip in coded]
        with clock("resize"):
            room = empty_clips((len(keys), 1, workload.segments, *size, 3), np.dtype(np.uint8))
            for clip, key, place in zip(frames, keys, room.numpy(), strict=True):
                spatial.apply(clip, np.random.default_rng([0, *key]), place)
        params = [augment.draw(np.random.default_rng(key), 1, workload.segments, *size) for key in keys]
        with clock("collate"):
            batch = collate([{"label": 0, "index": 0, "augment": drawn, "fault": ""} for drawn in params], room)
        with clock("augment"):
            augment.apply(batch.clips, batch.augment)
    wait, speed = _wait(workload, batches=max(8, rounds // 2), workers=workers)
    milliseconds = {stage: float(np.median(values)) for stage, values in taken.items()} | {"wait": wait}
    return Stages(milliseconds, workers, workload.frames_per_batch, speed)


def _wait(workload: Workload, *, batches: int, workers: int) -> tuple[float, float]:
    """(median milliseconds that a loop which only augments waits per batch, its frames per second)."""
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
