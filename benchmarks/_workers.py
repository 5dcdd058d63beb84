"""Measures how fast worker processes hand batches over, ours and the peer's, with nothing done with them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from benchmarks._peer import Peer
from benchmarks._readers import make_dataset, whole
from benchmarks._workload import Workload
from datasets.loader import TrainStream, make_loader


@dataclass(frozen=True)
class Handover:
    """Frames per second of one process of ours, of `workers` of ours, and of as many of the peer's; one per pair."""

    workers: int
    alone: np.ndarray
    ours: np.ndarray
    peer: np.ndarray | None

    def describe(self) -> str:
        """Returns a paragraph for the report."""
        scale = float(np.median(self.ours / self.alone))
        text = (
            f"{self.workers} workers hand over {np.median(self.ours):.0f} frames/s, {scale:.2f} x what one process "
            "reads by itself"
        )
        if self.peer is None:
            return f"{text}."
        ratio = float(np.median(self.ours / self.peer))
        return (
            f"{text}; as many of mmaction2's reader, in torch's DataLoader, {np.median(self.peer):.0f}: {ratio:.2f} x."
        )


def measure_handover(workload: Workload, *, workers: int, batches: int, pairs: int, peer: Peer | None) -> Handover:
    """Runs the sides in turn, `pairs` times."""
    rates = np.array([_round(workload, workers, batches, peer) for _ in range(pairs)])
    return Handover(workers, rates[:, 0], rates[:, 1], None if peer is None else rates[:, 2])


def _round(workload: Workload, workers: int, batches: int, peer: Peer | None) -> list[float]:
    rates = [_ours(workload, 0, batches), _ours(workload, workers, batches)]
    if peer is not None:
        keys = [key for step in range(batches + 2 * workers) for key in workload.batch(step)]
        seconds, _ = peer.ask(f"{workers} workers", keys)
        rates.append(batches * workload.frames_per_batch / seconds)
    return rates


def _ours(workload: Workload, workers: int, batches: int) -> float:
    data = make_dataset(workload, workload.store)
    stream = TrainStream(len(data), workload.batch_size, stop_step=batches + 2 * workers)
    loader = iter(make_loader(data, stream, workers=workers))
    for _ in range(2 * workers):  # what was read ahead while the workers started
        next(loader)
    start = time.perf_counter()
    for batch in loader:
        whole(batch)
    return batches * workload.frames_per_batch / (time.perf_counter() - start)
