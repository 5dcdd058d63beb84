"""Shared memory for the clips of batches that is made once and used again and again.

Memory that is new has to be zeroed and mapped page by page, in the worker that writes it and in the process that reads
it: a third of what decoding costs.
"""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.sample import Key, SampleDataset
from utils.errors import UserError
from utils.training.batch import Batch, channels_first
from utils.transforms.cut_clip import empty_clips

# what a loop over the batches holds while it asks for the next one: that of this step and the one being handed over
_HELD = 2

_numbers = itertools.count()
_pools: weakref.WeakValueDictionary[int, ClipPool] = weakref.WeakValueDictionary()


class ClipPool:
    """Places for batches' clips, shared with workers. This process lends them and knows when one is in use no longer.

    like: clips of one batch, (N, V, T, H, W, C), of whose shape and type all are; its own memory is not used. ahead:
    batches that are under way at once.

    Raises: UserError where there is not so much shared memory.
    """

    def __init__(self, like: Tensor, ahead: int) -> None:
        places = ahead + _HELD
        try:
            self._memory = empty_clips((places, *like.shape), like.numpy().dtype, shared=True)
        except RuntimeError as error:
            size = places * like.nbytes / 2**20
            raise UserError(
                f"the workers need {size:.0f} MB of shared memory for {places} batches: {error}; enlarge /dev/shm "
                "(docker run --shm-size 8g), or lower common.workers or common.batch_size"
            ) from None
        self.number = next(_numbers)
        self._free = deque(range(places))
        _pools[self.number] = self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_free": deque()}  # for a worker, which gives nothing out

    def take(self) -> int | None:
        """A place that nobody uses, for a batch to come; None where all are in use, as with batches that are kept."""
        return self._free.popleft() if self._free else None

    def at(self, place: int, num_records: int) -> Tensor:
        """The memory of a place, for so many records."""
        return self._memory[place, :num_records]

    def lend(self, place: int, num_records: int) -> Tensor:
        """The same as a tensor of its own: when it and all its views are gone, the place is free again."""
        array = self.at(place, num_records).numpy()
        weakref.finalize(array, self._free.append, place).atexit = False
        return torch.from_numpy(array)  # its storage keeps the array, and views share the storage


class PooledBatches:
    """A batch sampler that adds to every batch the place where its clips will lie."""

    def __init__(self, sampler: Any, pool: ClipPool) -> None:
        self._sampler, self._pool = sampler, pool

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[tuple[list[Key], int | None]]:
        for keys in self._sampler:
            yield keys, self._pool.take()


class PooledDataset:
    """What a worker sees of `dataset`: it makes whole batches, in a place of the pool."""

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
    """A batch on its way from a worker: its clips stay where they are, and what arrives is a Batch."""

    pool: int = -1
    place: int = -1

    def __reduce__(self) -> tuple[Any, ...]:
        # as arrays: for every tensor, however small, torch would open a shared file and send it
        augment = {name: drawn.numpy() for name, drawn in self.augment.items()}
        return _arrived, (self.pool, self.place, self.labels.numpy(), self.indices.numpy(), augment, self.faults)


def _arrived(
    pool: int, place: int, labels: np.ndarray, indices: np.ndarray, augment: dict[str, np.ndarray], faults: list[str]
) -> Batch:
    return Batch(
        clips=channels_first(_pools[pool].lend(place, len(labels))),
        labels=torch.from_numpy(labels),
        indices=torch.from_numpy(indices),
        augment={name: torch.from_numpy(drawn) for name, drawn in augment.items()},
        faults=faults,
    )
