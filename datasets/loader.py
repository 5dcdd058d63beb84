"""Decides which video comes when, on which process, and starts the workers that read it.

The order depends on (seed, epoch) and the number of processes, never on the number of workers; evaluation is exact.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from datasets.frame_dataset import SampleDataset
from datasets.shared_clips import ClipPool, PooledBatches, PooledDataset
from utils.scoring.label_sets import LabelSets
from utils.system import STOP_SIGNALS
from utils.training.batch import Batch, unchanged

_SHUFFLE = (
    0x5817FF1E  # makes the shuffling independent of the samples' generators, which are seeded (seed, epoch, index)
)


class TrainStream:
    """Batch sampler: an endless stream of permutations, one per epoch, cut into steps of all processes together.

    At step s, process `rank` of `world` takes the B elements from s*G + rank*B on, with G = world * B; epochs follow
    each other without a gap, so no video is dropped. Yields lists of (epoch, index) for the steps
    start_step <= s < stop_step (None: endlessly). A late start costs one permutation.

    chances: float64 (num_videos,), summing to 1: an epoch then draws its videos with replacement by these instead.
    repeated: elements in a row that are of one video (Hoffer et al. 2020, arXiv 1901.09335). Each counts as an epoch
        of its own, so that each has its own random numbers; B is then a multiple of it.
    window: how videos are shuffled that lie in shards, in place of all of them together.
    """

    def __init__(
        self,
        num_videos: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        stop_step: int | None = None,
        chances: np.ndarray | None = None,
        repeated: int = 1,
        window: Window | None = None,
    ) -> None:
        if num_videos < 1 or batch_size < 1:
            raise ValueError(f"need at least one video and one per batch, not {num_videos} and {batch_size}")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes does not exist")
        self.num_videos, self.batch_size = num_videos, batch_size
        self.seed, self.rank, self.world = seed, rank, world
        self.start_step, self.stop_step = start_step, stop_step
        self._chances, self._repeated, self._window = chances, repeated, window
        self._epoch, self._order = -1, np.zeros(0, np.int32)

    def __len__(self) -> int:
        if self.stop_step is None:
            raise TypeError("an endless stream has no length")
        return max(0, self.stop_step - self.start_step)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.start_step
        while self.stop_step is None or step < self.stop_step:
            yield self.step(step)
            step += 1

    def step(self, step: int) -> list[tuple[int, int]]:
        """Returns the (epoch, index) pairs of this process at one step."""
        first = step * self.world * self.batch_size + self.rank * self.batch_size
        return [self._at(position) for position in range(first, first + self.batch_size)]

    def _at(self, position: int) -> tuple[int, int]:
        position, repeat = divmod(position, self._repeated)
        epoch, place = divmod(position, self.num_videos)
        if epoch != self._epoch:
            order = epoch_order(self.num_videos, self.seed, epoch, self._chances, self._window)
            self._epoch, self._order = epoch, order
        return epoch * self._repeated + repeat, int(self._order[place])


def balanced_chances(labels: np.ndarray | LabelSets) -> np.ndarray:
    """Returns the chance of each video that makes its class as likely as any other, float64 (num_videos,).

    With sets of classes, a class is drawn evenly and then one of its videos; videos without a class count as one more.
    """
    if isinstance(labels, LabelSets):
        sizes = labels.sizes
        videos = np.repeat(np.arange(len(labels)), np.maximum(sizes, 1))
        classes = np.full(len(videos), -1)
        classes[np.repeat(sizes, np.maximum(sizes, 1)) > 0] = labels.flat
    else:
        videos, classes = np.arange(len(labels)), labels
    _, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return np.bincount(videos, 1.0 / (counts[place] * len(counts)))


@dataclass(frozen=True)
class Window:
    """Says how videos that lie in shards are shuffled so that shards are read from their start to their end.

    starts: int64, the first video of each shard; the videos of a shard follow each other.
    length: how many videos are shuffled among each other, in the order of the shards, which is shuffled, too.
    """

    starts: np.ndarray
    length: int


def epoch_order(
    num_videos: int, seed: int, epoch: int, chances: np.ndarray | None = None, window: Window | None = None
) -> np.ndarray:
    """Returns the videos of one epoch in their order, int32 (int64 from 2**31 videos on).

    It is a permutation, by shards with a `window`, or drawn by `chances`.
    """
    if chances is not None:
        rng = np.random.default_rng([seed, epoch, 0, _SHUFFLE])
        return rng.choice(num_videos, num_videos, p=chances)
    order = np.arange(num_videos, dtype=np.int32 if num_videos < 2**31 else np.int64)
    rng = np.random.default_rng([seed, epoch, 0, _SHUFFLE])
    if window is None:
        rng.shuffle(order)
        return order
    shards = np.split(order, window.starts[1:])
    order = np.concatenate([shards[shard] for shard in rng.permutation(len(shards))])
    for first in range(0, num_videos, window.length):
        rng.shuffle(order[first : first + window.length])
    return order


class EvalShard:
    """Batch sampler: every world-th video, so that all processes together see each video exactly once, without padding.

    The number of batches may differ by one between processes: they must not synchronise per batch.
    """

    indices: Sequence[int]

    def __init__(self, num_videos: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1 or not 0 <= rank < world:
            raise ValueError(f"cannot shard into batches of {batch_size} for rank {rank} of {world}")
        self.indices = range(rank, num_videos, world)
        self.batch_size = min(batch_size, max(1, len(self.indices)))

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(0, index) for index in self.indices[start : start + self.batch_size]]


def make_loader(
    dataset: SampleDataset,
    batch_sampler: TrainStream | EvalShard,
    *,
    workers: int = 0,
    pin_memory: bool = False,
    prefetch: int = 2,
    start_method: str | None = None,
) -> DataLoader[Batch]:
    """Loads `dataset` in the order of `batch_sampler` with `workers` processes (0: in this one).

    prefetch: batches that each worker reads ahead.
    start_method: how the processes are started, "fork", "spawn" or "forkserver"; None is the platform's own.

    Workers run one thread each and stay alive between passes.
    Raises: UserError where workers lack shared memory.
    """
    source: Any = dataset
    sampler: Any = batch_sampler
    if workers and not dataset.encoded:
        ahead = workers * prefetch
        with contextlib.suppress(TypeError):  # an endless stream has no length
            ahead = min(ahead, len(batch_sampler))
        pool = ClipPool((batch_sampler.batch_size, *dataset.shape), dataset.transform.dtype, ahead)
        source, sampler = PooledDataset(dataset, pool), PooledBatches(batch_sampler, pool)
    return DataLoader(
        source,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=unchanged,
        pin_memory=pin_memory,
        worker_init_fn=_begin_worker,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=workers > 0,
        multiprocessing_context=start_method if workers else None,
    )


def _begin_worker(worker: int) -> None:
    # Ctrl-C, Slurm and torchrun signal every process of a run. The main one then still needs the batches of its last
    # step, and its workers end when it ends, for whatever reason
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    start_worker()


class _Inherited(threading.local):
    """Keeps forked processes from collecting garbage that they inherit, from their first instruction on.

    That would copy its pages, and what FFmpeg does in threads, such as encoders, would wait endlessly for threads that
    only the parent has.
    """

    collects = False

    def register(self) -> None:
        """Makes every process that this one forks from now on leave inherited garbage alone."""
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(before=self._stop, after_in_parent=self._go_on, after_in_child=self._begin)

    def _stop(self) -> None:
        self.collects = gc.isenabled()
        gc.disable()  # the next allocation in the child might be the one that starts a collection

    def _go_on(self) -> None:
        if self.collects:
            gc.enable()

    def _begin(self) -> None:
        gc.freeze()
        self._go_on()


_Inherited().register()


@atexit.register
def _end_workers() -> None:
    # when an error ends a process, its workers are still there; multiprocessing sends them SIGTERM, which they ignore,
    # and would wait endlessly
    if hasattr(signal, "SIGCHLD"):  # not on Windows; DataLoader's handler would report them as crashed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def start_worker(worker: int = 0) -> None:
    """Makes OpenCV and torch use one thread in this process: parallelism comes from the number of workers."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
