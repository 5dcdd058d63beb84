"""Times readers in turn on the same batches, so that other work on the machine slows all of them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks._readers import Reader
from benchmarks._workload import Workload


@dataclass(frozen=True)
class Times:
    """The times of a race.

    wall, cpu: seconds by reader, one figure for each round.
    frames: number of frames that each reader decodes in a round.
    """

    wall: Mapping[str, np.ndarray]
    cpu: Mapping[str, np.ndarray]
    frames: int

    def frames_per_second(self, name: str) -> float:
        """Returns frames per second of wall time, in the median round."""
        return self.frames / float(np.median(self.wall[name]))

    def speed(self, name: str, than: str) -> float:
        """Returns how many times as fast a reader is as another in CPU time: the median of the ratios of all rounds.

        CPU time does not depend on other work on the machine. Use it for readers that wait for nobody.
        """
        return float(np.median(self.cpu[than] / self.cpu[name]))

    def speed_on_the_wall(self, name: str, than: str) -> float:
        """Returns the same ratio in wall time: it includes waiting for others, such as a server."""
        return float(np.median(self.wall[than] / self.wall[name]))


def race(workload: Workload, readers: Mapping[str, Reader], *, rounds: int) -> Times:
    """Gives one batch to every reader in each round, each time in another order."""
    names = list(readers)
    for name in names:  # not timed: imports, caches, connections
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
