"""Damages files of every kind and collects how the project took them."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.forks import Outcome, prepare_to_fork, read_in_fork
from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.mutate import damaged


@dataclass
class Tried:
    """Counts the inputs of one kind. problems: (seed, what went wrong, what was printed)."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    problems: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, seed: int, outcome: Outcome) -> None:
        """Counts one more."""
        self.inputs += 1
        self.read += outcome.code == 0
        self.refused += outcome.code == 2
        self.seconds = max(self.seconds, outcome.seconds)
        self.megabytes = max(self.megabytes, outcome.megabytes)
        if outcome.problem:
            self.problems.append((seed, outcome.problem, outcome.printed))


class Campaign:
    """Keeps a good example of each kind in `folder`, and reads damaged copies of them."""

    def __init__(self, folder: Path, names: Sequence[str] = tuple(KINDS)) -> None:
        prepare_to_fork()
        self.folder, self.names = folder, list(names)
        self.tried = {name: Tried() for name in names}

    def _example(self, kind: Kind) -> Path:
        place = self.folder / f"example {list(KINDS).index(kind.name)}"
        if not place.exists():
            place.mkdir(parents=True)
            with contextlib.redirect_stdout(io.StringIO()):
                kind.make(place)
        return place

    def copy(self, name: str, seed: int | None) -> Path:
        """Returns a folder with a copy of the example, of which one file is damaged by `seed`, none without."""
        kind, work = KINDS[name], self.folder / "copy"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self._example(kind), work)
        if seed is not None:
            targets = sorted({path for pattern in kind.targets for path in work.glob(pattern) if path.is_file()})
            random_ = random.Random(f"{name} {seed}")
            target = random_.choice([path for path in targets if path.stat().st_size] or targets)
            target.write_bytes(damaged(target.read_bytes(), random_, kind.tokens))
        return work

    def once(self, name: str, seed: int | None) -> Outcome:
        """Reads one input."""
        work = self.copy(name, seed)
        return read_in_fork(lambda: KINDS[name].read(work), work)

    def run(self, seconds: float, *, first: int = 0) -> Iterator[tuple[str, int, Outcome]]:
        """Reads inputs of all kinds in turn until the time is over, at least one of each; yields each outcome."""
        end, seed = time.monotonic() + seconds, first
        while seed == first or time.monotonic() < end:
            for name in self.names:
                outcome = self.once(name, seed)
                self.tried[name].add(seed, outcome)
                yield name, seed, outcome
            seed += 1
