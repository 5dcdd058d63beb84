"""Writes the log.txt, events/ and metrics.jsonl of an experiment folder, and locks the folder during training.

Checkpoints are written by utils/run/checkpoint.py. Only the first process of a run writes; in the other processes the
methods of RunFolder do nothing.
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
from utils.plain_text import printable
from utils.system import lock

# the files that --fresh moves away, so that those of an old run do not mix with those of the new one
OUTPUTS = (
    *("ckpt.pth.tar", "ckpt_before.pth.tar", "ckpt_best.pth.tar", "metrics.jsonl", "events"),
    *("reference_result.txt", "reference_result.jsonl", "reference_scores.npz", "analysis"),
)


class RunFolder:
    """Opens the log of an experiment folder and, for training, its lock and its event file; closes them on exit.

    writer: False in all processes but the first.
    training: False does not touch lock, events and metrics, so that a finished or running experiment can be evaluated.
    Raises: UserError when another process trains in the folder, or when the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, writer: bool = True, training: bool = True) -> None:
        self.folder = folder
        self.logger = logging.Logger("run", logging.INFO)  # not getLogger(), whose loggers live as long as the process
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
                f"{self.folder}: cannot write here: {error.strerror}; copy the folder to a place where you can write"
            ) from None
        form = _Lines("[%(asctime)s] %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self._terminal = _Stdout()
        for handler in (log_file, self._terminal):
            handler.setFormatter(form)
            self.logger.addHandler(handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # log.txt needs the failure too: the terminal may be closed when somebody looks for it
            self.logger.info("ended by %s: %s", type(error).__name__, error)
        if self._events is not None:
            self._events.close()
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def is_writer(self) -> bool:
        """True in the first process, which is the only one that writes."""
        return self._writer

    @property
    def records(self) -> bool:
        """True where scalars, pictures and metrics are written: in the first process of a training run."""
        return self._training

    def log(self, text: str) -> None:
        """Writes each line of `text` to log.txt and to the terminal."""
        for line in text.splitlines():
            self.logger.info("%s", line)

    def warn(self, text: str) -> None:
        """Writes a log line that starts with `warning:`."""
        self.log(f"warning: {text}")

    def show(self, text: str) -> None:
        """Writes a line to the terminal only, for somebody who is watching; not to log.txt."""
        self._terminal.handle(self.logger.makeRecord(self.logger.name, logging.INFO, "", 0, text, (), None))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Adds TensorBoard scalars; `values` maps tags to numbers."""
        if self._training:
            for tag, value in values.items():
                self._event_writer().add_scalar(tag, value, step)

    def picture(self, step: int, tag: str, image: Image.Image) -> None:
        """Adds a TensorBoard image."""
        if self._training:
            pixels = np.asarray(image.convert("RGB"))
            self._event_writer().add_image(tag, pixels, step, dataformats="HWC")

    def histogram(self, step: int, tag: str, values: np.ndarray) -> None:
        """Adds a TensorBoard histogram of `values`, which must be finite."""
        if self._training:
            self._event_writer().add_histogram(tag, values, step, bins=64)

    def _event_writer(self) -> SummaryWriter:
        """Returns the writer of the event file, which is created at the first use after a start."""
        if self._events is None:
            self._events = SummaryWriter(str(self.folder / "events"))
        return self._events

    def metrics(self, record: dict[str, Any]) -> None:
        """Appends one JSON object as a line of metrics.jsonl."""
        if self._training:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Drops the metrics of steps that a resumed run will repeat: those at or after `step`."""
        path = self.folder / "metrics.jsonl"
        if not self._training or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError, KeyError):  # drops a line that a kill cut off as well
                if json.loads(line)["step"] < step:
                    kept.append(line + "\n")
        with atomic_write(path, "w") as file:
            file.writelines(kept)

    def set_aside(self) -> Path | None:
        """Moves the outputs of an earlier run to `previous-1/`, `previous-2/`, ...; returns that folder, if any."""
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


class _Lines(logging.Formatter):
    """Formats a line of the log; text of strangers in it stays text."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return printable(super().format(record))


class _Stdout(logging.StreamHandler):
    """Writes to the current sys.stdout, which a progress bar replaces to put lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        self.stream = sys.stdout
        super().emit(record)


def _lock(path: Path) -> IO[str]:
    """Takes the folder's lock and writes into the file who holds it. Raises: UserError when another process does."""
    file = path.open("a+", encoding="utf-8")
    if not lock(file):
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{path.parent}: {holder} is training here; wait for it, or copy the folder to run a second experiment"
        )
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file
