"""Holds shared memory for the clips of batches, which is allocated once and reused.

New memory has to be zeroed and mapped page by page, in the worker that writes it and in the process that reads it: that
takes a third of the time of decoding.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.frame_dataset import Key, SampleDataset, empty_clips
from utils.errors import UserError
from utils.training.batch import Batch

# a loop holds two batches while it asks for the next one: that of this step and the one that is being handed over
_HELD = 2

_numbers = itertools.count()
_pools: weakref.WeakValueDictionary[int, ClipPool] = weakref.WeakValueDictionary()


class ClipPool:
    """Places for the clips of batches, shared with workers. This process lends them and knows when one is free again.

    shape: (N, V, T, H, W, C), of the clips of one batch.
    dtype: of the clips.
    ahead: number of batches that are under way at once.
    Raises: UserError where there is too little shared memory.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype, ahead: int) -> None:
        places = ahead + _HELD
        try:
            self._memory = empty_clips((places, *shape), dtype, shared=True)
        except RuntimeError as error:
            size = places * math.prod(shape) * dtype.itemsize / 2**20
            raise UserError(
                f"the workers need {size:.0f} MB of shared memory for {places} batches: {error}; enlarge /dev/shm "
                "(docker run --shm-size 8g), or lower common.workers or common.batch_size"
            ) from None
        self.number = next(_numbers)
        self._free = deque(range(places))
        _pools[self.number] = self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_free": deque()}  # a worker lends nothing

    def take(self) -> int | None:
        """Returns a free place for a batch to come; None where all are in use, as when a loop keeps its batches."""
        return self._free.popleft() if self._free else None

    def at(self, place: int, num_records: int) -> Tensor:
        """Returns the memory of a place, for that many records."""
        return self._memory[place, :num_records]

    def lend(self, place: int, num_records: int) -> Tensor:
        """Returns the memory of a place as a tensor; the place is free again when it and all its views are gone."""
        array = self.at(place, num_records).numpy()
        weakref.finalize(array, self._free.append, place).atexit = False
        return torch.from_numpy(array)  # its storage keeps the array, and views share the storage


class PooledBatches:
    """A batch sampler that adds to every batch the place where its clips will be written."""

    def __init__(self, sampler: Any, pool: ClipPool) -> None:
        self._sampler, self._pool = sampler, pool

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[tuple[list[Key], int | None]]:
        for keys in self._sampler:
            yield keys, self._pool.take()


class PooledDataset:
    """Makes whole batches of a dataset in places of the pool, in a worker."""

    def __init__(self, dataset: SampleDataset, pool: ClipPool) -> None:
        self._dataset, self._pool = dataset, pool

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, request: tuple[Sequence[Key], int | None]) -> Batch:
        keys, place = request
        if place is None:
            return self._dataset.__getitems__(keys)
        batch = self._dataset.__getitems__(keys, self._pool.at(place, len(keys)))
        return _Placed(**vars(batch), pool=self._pool.number, place=place)


@dataclass
class _Placed(Batch):
    """A batch on its way from a worker: its clips stay where they are, and a Batch arrives."""

    pool: int = -1
    place: int = -1

    def __reduce__(self) -> tuple[Any, ...]:
        # as arrays, because torch would open and send a shared file for every tensor, however small
        augment = {name: drawn.numpy() for name, drawn in self.augment.items()}
        return _arrived, (self.pool, self.place, self.labels.numpy(), self.indices.numpy(), augment, self.faults)


def _arrived(
    pool: int, place: int, labels: np.ndarray, indices: np.ndarray, augment: dict[str, np.ndarray], faults: list[str]
) -> Batch:
    return Batch(
        clips=_pools[pool].lend(place, len(labels)).permute(0, 1, 5, 2, 3, 4),
        labels=torch.from_numpy(labels),
        indices=torch.from_numpy(indices),
        augment={name: torch.from_numpy(drawn) for name, drawn in augment.items()},
        faults=faults,
    )
