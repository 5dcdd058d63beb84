"""Shows how far a run is: a bar at the foot of a terminal, or a plain line every minute where there is no terminal.

Neither goes into log.txt, and only the first process shows anything.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator

import torch

from utils.run.folder import RunFolder
from utils.system import peak_memory
from utils.training.batch import Batch
from utils.training.trainer import Step, Trainer

REFRESH = 0.2  # seconds between two drawings of the bar
PLAIN_EVERY = 60.0  # seconds between two plain lines
SHORTEST_BAR = 5  # characters
COLUMNS = "BAR_COLUMNS"  # in which tools/launch.sh hands over the width of the terminal behind its pipe
GIB = 1 << 30


class Progress:
    """Shows the training and validation of this process.

    folder: whose terminal shows it.
    shown: False in all processes but the first.
    """

    def __init__(self, folder: RunFolder, *, shown: bool, device: torch.device) -> None:
        self._folder, self._shown, self._device = folder, shown, device
        self._columns = columns() if shown else 0
        self._last = time.monotonic()  # when something was shown
        self._validation = 0.0  # seconds that the last one took

    def training(self, trainer: Trainer, steps: Iterable[Step]) -> Iterator[Step]:
        """Yields the steps of a trainer unchanged, and shows how far it is."""
        state, total = trainer.state, len(trainer.rates)
        clips = trainer.common.effective_batch(trainer.rank.world_size)  # of one step, over all processes
        with self._bar():
            for step in steps:
                seconds, waited = state.meters["time"].mean, state.meters["data"].mean
                if seconds > 0 and self._due():  # there are times from the second step on
                    left = (total - state.step) * (seconds + self._validation / trainer.val_freq)
                    rates = f"{clips / seconds:.1f} clips/s, data wait {waited / seconds:.0%}"
                    self._show("training", step.number, total, left, rates)  # the number that log.txt has
                yield step

    def reading(self, trainer: Trainer, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Returns the batches of a trainer unchanged; if they are all for one step, shows how far it has read."""
        return self._videos("reading", batches, len(trainer.data)) if trainer.common.solves else batches

    def validation(self, batches: Iterable[Batch], total: int) -> Iterator[Batch]:
        """Yields the batches unchanged, and shows how far the validation is. total: videos of this process."""
        began = time.monotonic()
        yield from self._videos("validation", batches, total)
        self._validation = time.monotonic() - began

    def _videos(self, what: str, batches: Iterable[Batch], total: int) -> Iterator[Batch]:
        began, done = time.monotonic(), 0
        with self._bar():
            for batch in batches:
                yield batch
                done += len(batch)
                if self._due():
                    rate = done / (time.monotonic() - began)
                    self._show(what, done, total, (total - done) / rate, f"{rate:.1f} videos/s")

    @contextlib.contextmanager
    def _bar(self) -> Iterator[None]:
        """Draws a bar from the first moment on, and removes it at the end."""
        if self._columns:
            self._last = -REFRESH
        try:
            yield
        finally:
            if self._columns:
                self._folder.draw("")

    def _due(self) -> bool:
        return self._shown and time.monotonic() - self._last >= (REFRESH if self._columns else PLAIN_EVERY)

    def _show(self, what: str, done: int, total: int, left: float, about: str) -> None:
        self._last = time.monotonic()
        about = f"ETA {duration(left)}, {about}, {memory(self._device)}"
        if not self._columns:
            self._folder.show(f"{what}: {done}/{total}, {done / total:.0%}, {about}")
            return
        room = max(self._columns - len(f"{what}  {done}/{total} {about}") - 1, SHORTEST_BAR)
        bar = "#" * (room * done // total)
        self._folder.draw(f"{what} {bar:-<{room}} {done}/{total} {about}"[: self._columns - 1])


def memory(device: torch.device) -> str:
    """Returns the most memory used so far: of the GPU, or of this process where there is no GPU."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.max_memory_reserved(device) / GIB:.1f} of {total / GIB:.1f} GiB"
    peak = peak_memory()
    return "memory unknown" if peak is None else f"{peak / GIB:.1f} GiB"


def duration(seconds: float) -> str:
    """Returns h:mm:ss, with days in front from 24 hours on."""
    return str(datetime.timedelta(seconds=round(seconds)))


def columns() -> int:
    """Returns the width of the terminal that shows what this process prints, 0 if none does."""
    if os.environ.get("TERM") in (None, "", "dumb", "unknown"):
        return 0
    behind = os.environ.get(COLUMNS, "")
    if behind.isdecimal():
        return int(behind)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
