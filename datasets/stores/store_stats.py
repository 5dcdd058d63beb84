"""Counters that all workers of a loader write and the main process reads, without a lock and without a message."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import get_worker_info

_ROWS = 257  # the main process and up to 256 workers, each in a row of its own


class StoreStats:
    """Named counts in shared memory; survives fork, and travels to spawned workers."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._counts = torch.zeros((_ROWS, len(self.names)), dtype=torch.int64).share_memory_()

    def add(self, name: str, number: int = 1) -> None:
        """Adds to the count `name` of this process."""
        if number:
            worker = get_worker_info()
            row = 0 if worker is None else 1 + worker.id % (_ROWS - 1)
            self._counts[row, self.names.index(name)] += number

    def totals(self) -> dict[str, int]:
        """The counts of all processes together."""
        return dict(zip(self.names, self._counts.sum(0).tolist(), strict=True))
