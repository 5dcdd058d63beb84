"""Shows how far a run is: a bar at the foot of a terminal, or a plain line every minute where there is no terminal.

Neither goes into log.txt, and only the first process shows anything.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from utils.console import TextConsole
from utils.system import peak_memory
from utils.training.batch import Batch
from utils.training.trainer import Step, Trainer

REFRESH = 0.2  # seconds between two drawings of the bar
PLAIN_EVERY = 60.0  # seconds between two plain lines
GIB = 1 << 30


class Progress:
    """Shows the training and validation of this process. It has to be entered around both.

    say: prints a line where there is no terminal.
    shown: False in all processes but the first.
    The training process draws the bar, between two steps: another thread could hold a lock while workers fork.
    """

    def __init__(self, say: Callable[[str], None], *, shown: bool, device: torch.device) -> None:
        self._say, self._shown, self._device = say, shown, device
        self._bars = _bars() if shown and _on_terminal() else None
        self._last = time.monotonic()  # when something was shown
        self._validation = 0.0  # seconds that the last one took

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
            self._bars.console.show_cursor(True)  # a killed process could not give the cursor back
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def training(self, trainer: Trainer, steps: Iterable[Step]) -> Iterator[Step]:
        """Yields the steps of a trainer unchanged, and shows how far it is."""
        state, total = trainer.state, len(trainer.rates)
        clips = trainer.common.effective_batch(trainer.rank.world_size)  # of one step, over all processes
        with self._task("training", total, state.step) as task:
            for step in steps:
                seconds, waited = state.meters["time"].mean, state.meters["data"].mean
                if seconds > 0 and self._due():  # there are times from the second step on
                    left = (total - state.step) * (seconds + self._validation / trainer.val_freq)
                    rates = f"{clips / seconds:.1f} clips/s, data wait {waited / seconds:.0%}"
                    self._show(task, "training", state.step, total, "steps", left, rates)
                yield step

    def validation(self, batches: Iterable[Batch], total: int) -> Iterator[Batch]:
        """Yields the batches unchanged, and shows how far the validation is. total: videos of this process."""
        began, done = time.monotonic(), 0
        with self._task("validation", total, 0) as task:
            for batch in batches:
                yield batch
                done += len(batch)
                if self._due():
                    rate = done / (time.monotonic() - began)
                    self._show(task, "validation", done, total, "videos", (total - done) / rate, f"{rate:.1f} videos/s")
        self._validation = time.monotonic() - began

    @contextlib.contextmanager
    def _task(self, what: str, total: int, done: int) -> Iterator[TaskID | None]:
        if self._bars is None:
            yield None
            return
        task = self._bars.add_task(what, total=total, completed=done, about="")
        self._bars.refresh()
        try:
            yield task
        finally:
            self._bars.remove_task(task)
            self._bars.refresh()

    def _due(self) -> bool:
        return self._shown and time.monotonic() - self._last >= (PLAIN_EVERY if self._bars is None else REFRESH)

    def _show(self, task: TaskID | None, what: str, done: int, total: int, unit: str, left: float, about: str) -> None:
        self._last = time.monotonic()
        about = f"ETA {_duration(left)}, {about}, {memory(self._device)}"
        if self._bars is None or task is None:
            self._say(f"{what}: {done} of {total} {unit}, {done / total:.0%}, {about}")
        else:
            self._bars.update(task, completed=done, about=about)
            self._bars.refresh()


def memory(device: torch.device) -> str:
    """Returns the most memory used so far: of the GPU, or of this process where there is no GPU."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.max_memory_reserved(device) / GIB:.1f} of {total / GIB:.1f} GiB"
    peak = peak_memory()
    return "memory unknown" if peak is None else f"{peak / GIB:.1f} GiB"


def _duration(seconds: float) -> str:
    """Returns h:mm:ss, with days in front from 24 hours on."""
    return str(datetime.timedelta(seconds=round(seconds)))


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown")


def _bars() -> Bars:
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[about]}"),
        console=TextConsole(force_terminal=True),
        auto_refresh=False,
        transient=True,
        expand=True,
    )
