"""Holds what all command lines share: one-line errors, number types, a progress bar. No tool's own options."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from utils.errors import EXIT_USER_ERROR, UserError

SECONDS_BETWEEN_LINES = 10
# a disk that is full or read-only, a file that belongs to somebody else: nothing that a traceback would explain
PLACES_THAT_REFUSE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def answer_early(check: Callable[[], object]) -> None:
    """Runs `check` and exits on a mistake in the arguments, or after --help; else returns.

    For programs that take seconds to import: they call it before they do.
    """
    try:
        check()
    except UserError as error:
        _exit_with(error)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are a single line and exit code 2, as all errors of a user are."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError instead of printing the usage."""
        raise UserError(f"{message} (see {self.prog} --help)")


def run_cli(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs `main(argv)` and exits: its return value (None is 0), 2 after a UserError, 130 after Ctrl-C.

    A user's error is printed to stderr as a single line `error: ...`, without a traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path that is no UTF-8, a terminal that knows no Chinese
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = main(argv)
    except UserError as error:
        _exit_with(error)
    except BrokenPipeError:  # `tool | head` closed our stdout: not worth a traceback
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.errno not in PLACES_THAT_REFUSE:
            raise
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror}\n")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    sys.exit(code or 0)


def _exit_with(error: UserError) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write("error: " + " ".join(str(error).splitlines()) + "\n")
    sys.exit(error.exit_code)


def positive_int(text: str) -> int:
    """An integer from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return value


def positive_float(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def jpeg_quality(text: str) -> int:
    """1..100."""
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a JPEG quality from 1 to 100")
    return int(text)


def cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Progress:
    """A bar on a terminal; elsewhere a plain line now and then, so that a log stays readable."""

    def __init__(self, total: int, *, unit: str) -> None:
        self.total, self.unit = total, unit
        self._done, self._said = 0, time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = None
        if self._console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = rich.progress.Progress(*columns, console=self._console)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.unit, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._console.print(text, markup=False)

    def advance(self, number: int, text: str = "") -> None:
        """So many more are done; `text` says what came of them."""
        self._done += number
        if self._bar is not None:
            self._bar.update(self._task, advance=number, description=f"{self.unit} {text}")
        elif number and time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self.note(f"{self._done}/{self.total} {self.unit} {text}")
