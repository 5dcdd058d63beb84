"""Writes the log.txt, events/ and metrics.jsonl of an experiment folder, and locks the folder during training.

Checkpoints are written by utils/run/checkpoint.py. Only the first process of a run writes; in the other processes the
methods of RunFolder do nothing.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter
from typing_extensions import override

from utils.cli import TALKS
from utils.errors import UserError
from utils.files import atomic_write
from utils.plain_text import plain_stream, printable
from utils.run.trackers import IDS, Trackers
from utils.system import discard, lock

METRICS = "metrics.jsonl"
DAMAGED = "metrics_damaged.txt"  # lines that were no records
LITMUS = "litmus.json"  # what tools.litmus has found out about the best checkpoint
RUNS = "runs.jsonl"  # what utils/run/about.py says about each start of a training
# the files that --fresh moves away, so that those of an old run do not mix with those of the new one
OUTPUTS = (
    *("ckpt.pth.tar", "ckpt_before.pth.tar", "ckpt_best.pth.tar", METRICS, DAMAGED, RUNS, "events", IDS),
    *("reference_result.txt", "reference_result.jsonl", "reference_scores.npz", LITMUS, "analysis"),
)


class RunFolder:
    """Opens the log of an experiment folder and, for training, its lock and its event file; closes them on exit.

    writer: False in all processes but the first.
    training: False does not touch lock, events and metrics, so that a finished or running experiment can be evaluated.
    track: names of the experiment trackers that get the metrics as well.
    Raises: UserError when another process trains in the folder, or when the folder cannot be written to.
    """

    def __init__(self, folder: Path, *, writer: bool = True, training: bool = True, track: Sequence[str] = ()) -> None:
        self.path = folder
        self._track = track
        self._trackers: Trackers | None = None  # from `begin` on
        self.logger = logging.Logger("run", logging.INFO)  # not getLogger(), whose loggers live as long as the process
        self._writer = writer
        self._training = training and writer
        self._lock: IO[str] | None = None
        self._events: SummaryWriter | None = None
        self._file: logging.Handler = logging.NullHandler()
        self._terminal = _Stdout()
        self._talks = logging.getLogger(TALKS)
        self._talks.setLevel(logging.INFO)
        self._others = list(self._talks.handlers)

    def __enter__(self) -> RunFolder:
        if not self._writer:
            self.logger.addHandler(logging.NullHandler())
            self._talks.handlers = list(self.logger.handlers)
            return self
        for name in (".lock", "log.txt"):
            _refuse_odd(self.path / name)
        try:
            if self._training:
                self._lock = _lock(self.path / ".lock")
            self._file = _LogFile(self.path / "log.txt", mode="a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot write here: {error.strerror}; copy the folder to a place where you can write"
            ) from None
        for handler, day in ((self._file, "%Y-%m-%d "), (self._terminal, "")):
            handler.setFormatter(_Lines("[%(asctime)s] %(message)s", datefmt=f"{day}%H:%M:%S"))
            self.logger.addHandler(handler)
        self._talks.handlers = list(self.logger.handlers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # log.txt needs the failure too: the terminal may be closed when somebody looks for it
            self.logger.info("ended by %s: %s", type(error).__name__, error)
        if self._events is not None:
            self._events.close()
        if self._trackers is not None:
            self._trackers.close(failed=error is not None)
        self._talks.handlers = self._others
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

    def write(self, lines: Sequence[str]) -> None:
        """Writes lines to log.txt only, for somebody who looks at the run later."""
        for line in lines:
            self._file.handle(self._record(line))

    def show(self, text: str) -> None:
        """Writes a line to the terminal only, for somebody who is watching; not to log.txt."""
        self._terminal.handle(self._record(text))

    def draw(self, bar: str) -> None:
        """Draws a bar below the lines of the terminal, in place of the one before; "" removes it."""
        self._terminal.draw(bar)

    def _record(self, text: str) -> logging.LogRecord:
        return self.logger.makeRecord(self.logger.name, logging.INFO, "", 0, text, (), None)

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
            self._events = SummaryWriter(str(self.path / "events"))
        return self._events

    def metrics(self, record: dict[str, Any]) -> None:
        """Appends one JSON object as a line of metrics.jsonl."""
        if self._training:
            self._append(METRICS, record)
        if self._trackers is not None:
            self._trackers.log(record)

    def begin(self, step: int, about: Mapping[str, Any]) -> None:
        """Prepares for a training that begins or goes on at `step`, and notes what it says about itself."""
        self.rewind_metrics(step)
        if self._training:
            self._append(RUNS, {"step": step, **about})
            self._trackers = Trackers(self._track, self.path, about.get("config", {}), self.warn)

    def was_begun_by(self, launch: str) -> bool:
        """Returns whether an earlier attempt of this launch has trained here; "" names no launch."""
        records, _ = read_records(self.path / RUNS)
        return bool(launch) and any(record.get("launch") == launch for record in records)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        path = self.path / name
        _refuse_odd(path)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None

    def rewind_metrics(self, step: int) -> None:
        """Drops the metrics of steps that a resumed run will repeat: those at or after `step`.

        Lines that are no records, as a kill or a bad disk leaves them, are set aside with a warning.
        """
        path = self.path / METRICS
        if not self._training or not path.exists():
            return
        records, damaged = read_records(path)
        if damaged:
            with (self.path / DAMAGED).open("ab") as file:
                file.writelines(line + b"\n" for line in damaged)
            self.warn(f"{path}: {len(damaged)} line(s) that are no records are in {DAMAGED} now")
        with atomic_write(path, "w") as text:
            text.writelines(json.dumps(record) + "\n" for record in records if record["step"] < step)

    def set_aside(self) -> Path | None:
        """Moves the outputs of an earlier run to `previous-1/`, `previous-2/`, ...; returns that folder, if any."""
        old = [self.path / name for name in OUTPUTS if (self.path / name).exists()]
        if not self._training or not old:
            return None
        number = 1
        while (target := self.path / f"previous-{number}").exists():
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


def read_records(path: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Returns the records of a metrics.jsonl or runs.jsonl, oldest first, and the lines that are no records.

    A file that is not there has none. Raises: UserError if it is no file.
    """
    _refuse_odd(path)
    records, damaged = [], []
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and type(record.get("step")) is int:
            records.append(record)
        elif line:
            damaged.append(line)
    return records, damaged


def _refuse_odd(path: Path) -> None:
    """Raises: UserError for a pipe or a folder where a file of ours should be; reading a pipe would wait endlessly."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no file; a run writes one of this name here, so move it away")


class _LogFile(logging.FileHandler):
    """Ends the run when log.txt cannot be written any more, as on a full disk."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Raises a UserError in place of a traceback for each line."""
        error = sys.exc_info()[1]
        raise UserError(
            f"{self.baseFilename}: cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None


class _Stdout(logging.StreamHandler):
    """Writes lines to the current sys.stdout, above a bar, as long as somebody is there to read them.

    After the bar the cursor returns to the start of its line. So whatever else is printed covers the bar, and
    tools/launch.sh keeps of each line what follows the last return.
    """

    CLEAR, RETURN = "\x1b[2K", "\r"
    drawn = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        self.draw("")
        self.stream = sys.stdout
        super().emit(record)

    def draw(self, bar: str) -> None:
        """Draws a bar in place of the one before."""
        if not bar and not self.drawn:
            return
        self.drawn = bool(bar)
        try:
            stream = plain_stream(sys.stdout)
            stream.write(self.CLEAR + printable(bar) + self.RETURN)
            stream.flush()
        except (OSError, ValueError):
            discard(sys.stdout)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Goes on without a terminal that was closed or a reader that has ended: log.txt has every line."""
        discard(sys.stdout)


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
