"""What a run writes into its experiment folder besides checkpoints: log.txt, events/, metrics.jsonl, and the lock.

Only the first process of a run writes; the others hold a folder whose methods do nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

from utils.errors import UserError
from utils.files import atomic_write
from utils.system import lock

# what `--fresh` sets aside, so that nothing of an old run mixes with the new one
OUTPUTS = (
    *("ckpt.pth.tar", "ckpt_before.pth.tar", "ckpt_best.pth.tar", "metrics.jsonl", "events"),
    *("reference_result.txt", "reference_result.jsonl", "reference_scores.npz", "analysis"),
)


class RunFolder:
    """Opens the folder's log and, for training, its lock and event file; closes them on exit.

    writer: False in all processes but the first.
    training: False leaves lock, events and metrics alone, so that a finished or running experiment can be evaluated.
    Raises: UserError when another process trains in the folder, or when it cannot be written.
    """

    def __init__(self, folder: Path, *, writer: bool = True, training: bool = True) -> None:
        self.folder = folder
        self.logger = logging.getLogger(f"run.{os.getpid()}.{id(self)}")
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False
        self._writer = writer
        self._training = training and writer
        self._lock: IO[str] | None = None
        self._events: SummaryWriter | None = None
        self._terminal: logging.Handler = logging.NullHandler()

    def __enter__(self) -> RunFolder:
        if not self._writer:
            self.logger.addHandler(logging.NullHandler())
            return self
        try:
            if self._training:
                self._lock = _lock(self.folder / ".lock")
            log_file = logging.FileHandler(
                self.folder / "log.txt", mode="a", encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot write here: {error.strerror}; copy the folder to a place you own"
            ) from None
        form = logging.Formatter("[%(asctime)s] %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self._terminal = _Stdout()
        for handler in (log_file, self._terminal):
            handler.setFormatter(form)
            self.logger.addHandler(handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (
            error is not None
        ):  # a failure belongs into log.txt too: the terminal may be gone by the time it is looked for
            self.logger.info("ended by %s: %s", type(error).__name__, error)
        if self._events is not None:
            self._events.close()
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def records(self) -> bool:
        """Whether scalars, pictures and metrics are kept: in the first process of a training run."""
        return self._training

    def log(self, text: str) -> None:
        """One line per line of `text`, in log.txt and on the terminal."""
        for line in text.splitlines():
            self.logger.info("%s", line)

    def warn(self, text: str) -> None:
        """A log line that starts with `warning:`."""
        self.log(f"warning: {text}")

    def show(self, text: str) -> None:
        """A line for who is watching now: on the terminal, not in log.txt."""
        self._terminal.handle(self.logger.makeRecord(self.logger.name, logging.INFO, "", 0, text, (), None))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """TensorBoard scalars under the given tags."""
        if self._training:
            for tag, value in values.items():
                self._writer_of_events().add_scalar(tag, value, step)

    def picture(self, step: int, tag: str, image: Image.Image) -> None:
        """A TensorBoard picture."""
        if self._training:
            pixels = np.asarray(image.convert("RGB"))
            self._writer_of_events().add_image(tag, pixels, step, dataformats="HWC")

    def histogram(self, step: int, tag: str, values: np.ndarray) -> None:
        """A TensorBoard histogram of finite values."""
        if self._training:
            self._writer_of_events().add_histogram(tag, values, step, bins=64)

    def _writer_of_events(self) -> SummaryWriter:
        """Begins a new event file when something is written for the first time after a start."""
        if self._events is None:
            self._events = SummaryWriter(str(self.folder / "events"))
        return self._events

    def metrics(self, record: dict[str, Any]) -> None:
        """One JSON object as a line of metrics.jsonl."""
        if self._training:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Drops the lines of steps that a resumed run will do again: those at or after `step`."""
        path = self.folder / "metrics.jsonl"
        if not self._training or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError, KeyError):  # a line cut off by a kill is dropped too
                if json.loads(line)["step"] < step:
                    kept.append(line + "\n")
        with atomic_write(path, "w") as file:
            file.writelines(kept)

    def set_aside(self) -> Path | None:
        """Moves the outputs of an earlier run to `previous-1/`, `previous-2/`, ...; None when there are none."""
        old = [self.folder / name for name in OUTPUTS if (self.folder / name).exists()]
        if not self._training or not old:
            return None
        number = 1
        while (target := self.folder / f"previous-{number}").exists():
            number += 1
        target.mkdir()
        for path in old:
            path.rename(target / path.name)
        return target


class _Stdout(logging.StreamHandler):
    """Writes to what sys.stdout is at the moment, so that a progress bar can put lines above itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> IO[str]:
        """The standard output of now."""
        return sys.stdout

    @stream.setter
    def stream(self, value: IO[str]) -> None:
        raise AttributeError("this handler has no stream of its own")


def _lock(path: Path) -> IO[str]:
    """Takes the folder's lock and writes into the file who holds it. Raises: UserError when another process does."""
    file = path.open("a+", encoding="utf-8")
    if not lock(file):
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{path.parent}: {holder} is training here; wait for it or copy the folder to run a second experiment"
        )
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file
