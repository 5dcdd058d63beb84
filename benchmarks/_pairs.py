"""Readers timed side by side on the same batches, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks._readers import Reader
from benchmarks._workload import Workload


@dataclass(frozen=True)
class Times:
    """wall, cpu: seconds per reader, one figure for each round. frames: decoded in each round."""

    wall: Mapping[str, np.ndarray]
    cpu: Mapping[str, np.ndarray]
    frames: int

    def frames_per_second(self, name: str) -> float:
        """By the clock on the wall, of the median round."""
        return self.frames / float(np.median(self.wall[name]))

    def speed(self, name: str, than: str) -> float:
        """How many times as fast as another reader in CPU time: the median of the rounds' own ratios.

        CPU time, so that what else runs on the machine does not decide; readers that wait for nobody lose nothing.
        """
        return float(np.median(self.cpu[than] / self.cpu[name]))

    def speed_on_the_wall(self, name: str, than: str) -> float:
        """The same with the time spent waiting for others, such as a server."""
        return float(np.median(self.wall[than] / self.wall[name]))


def race(workload: Workload, readers: Mapping[str, Reader], *, rounds: int) -> Times:
    """Each round gives one batch to every reader, each time in another order."""
    names = list(readers)
    for name in names:  # imports, caches, connections
        readers[name].seconds(workload.batch(0))
    wall = {name: np.zeros(rounds) for name in names}
    cpu = {name: np.zeros(rounds) for name in names}
    order = np.random.default_rng(0)
    for step in range(rounds):
        keys = workload.batch(step)
        for place in order.permutation(len(names)):
            name = names[place]
            wall[name][step], cpu[name][step] = readers[name].seconds(keys)
    return Times(wall, cpu, workload.frames_per_batch)
