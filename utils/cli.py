"""Holds what all command lines share: errors of one line, number types, a progress bar. No tool's own options.

Imports only the standard library, so that `--help` and a wrong argument are answered at once. Every command parses its
arguments first and imports what does the work afterwards.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import io
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO, cast

from utils.errors import EXIT_USER_ERROR, UserError
from utils.files import ROOT
from utils.plain_text import TextOnly, one_line
from utils.system import discard, ended_by_signals, open_streams, wait_asleep

SECONDS_BETWEEN_LINES = 10
TALKS = "datasets.videos"  # the logger of the library functions that take so long that they say how far they are
NEEDED = ("torch", "numpy", "yaml", "pydantic", "cv2")  # what main.py imports first
# the disk is full or read-only, or the file belongs to somebody else: a traceback would explain nothing
PLACES_THAT_REFUSE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
PLACES_THAT_REFUSE |= {errno.ENAMETOOLONG, errno.ELOOP}  # no path at all
LOWEST_RATE, HIGHEST_RATE = 0.01, 1000.0  # frames per second of what is written
TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}


def answer_early(check: Callable[[], object]) -> None:
    """Runs `check` and exits on a mistake in the arguments, or after --help; else returns.

    For programs that take seconds to import: they call it before they do.
    """
    open_streams()
    wait_asleep()
    try:
        check()
        for package in NEEDED:
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
    except UserError as error:
        _exit_with(error)
    except ModuleNotFoundError as error:
        _exit_if_not_installed(error)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports mistakes as a UserError: one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError instead of printing the usage."""
        raise UserError(f"{message} (see {self.prog} --help)")


def run_cli(main: Callable[[list[str] | None], int | None], argv: list[str] | None = None) -> NoReturn:
    """Runs `main(argv)` and exits with its return value (0 for None), with 2 after a UserError, 130 after Ctrl-C.

    A UserError is printed to stderr as one line, `error: ...`, without a traceback.
    """
    open_streams()
    wait_asleep()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # paths that are not UTF-8, terminals that cannot show Chinese
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (stream and cast(TextIO, TextOnly(stream)) for stream in before)
    talks, handler = logging.getLogger(TALKS), logging.StreamHandler()
    talks.setLevel(logging.INFO)
    talks.addHandler(handler)
    try:
        with ended_by_signals():
            code = main(argv)
            sys.stdout.flush()  # a reader that has ended is noticed here, not while Python shuts down
    except UserError as error:
        _exit_with(error)
    except ModuleNotFoundError as error:
        _exit_if_not_installed(error)
    except BrokenPipeError:  # `tool | head` closed our stdout: not worth a traceback
        discard(sys.stdout)
        sys.exit(141)
    except OSError as error:
        if error.errno in TOO_MANY_FILES:
            _exit_with(
                UserError(f"{error.strerror}: allow this process more with `ulimit -n 4096`, or use fewer workers")
            )
        if error.errno not in PLACES_THAT_REFUSE:
            raise
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror}\n")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    finally:
        talks.removeHandler(handler)
        sys.stdout, sys.stderr = before
    sys.exit(code or 0)


def _exit_if_not_installed(error: ModuleNotFoundError) -> NoReturn:
    """Exits with one line about a package that is not installed; a missing module of this project is a bug."""
    package = (error.name or "").partition(".")[0]
    if not package or package in sys.stdlib_module_names or any(ROOT.glob(f"{package}*")):
        raise error
    python = ROOT / ".venv/bin/python"
    _exit_with(
        UserError(
            f"{sys.executable} has no package {package}: run the command with {python}, which `make demo` makes, or "
            "pip install -r requirements.txt"
        )
    )


def _exit_with(error: UserError) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write("error: " + one_line(" ".join(str(error).splitlines())) + "\n")
    sys.exit(error.exit_code)


def positive_int(text: str) -> int:
    """Reads an integer from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return value


def positive_float(text: str) -> float:
    """Reads a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def frames_per_second(text: str) -> float:
    """Reads frames per second, within what a camera may have: more would only repeat frames until a disk is full."""
    value = float(text)
    if not LOWEST_RATE <= value <= HIGHEST_RATE:
        raise argparse.ArgumentTypeError(
            f"{text} is not a number of frames per second from {LOWEST_RATE:g} to {HIGHEST_RATE:g}"
        )
    return value


def finite_float(text: str) -> float:
    """Reads a finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def jpeg_quality(text: str) -> int:
    """Reads an integer from 1 to 100."""
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a JPEG quality from 1 to 100")
    return int(text)


def usable_weights(weights: Sequence[float], count: int) -> bool:
    """Says whether these can weight `count` results: one finite number for each, none below 0 and one above."""
    return len(weights) == count and all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0


class Progress:
    """Draws a bar on a terminal. Elsewhere it prints a plain line now and then, so that a log stays readable."""

    def __init__(self, total: int, *, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        from utils.console import TextConsole

        self.total, self.unit = total, unit
        self._done, self._last_line = 0, time.monotonic()
        self._console = TextConsole(stderr=True, soft_wrap=True)
        self._bar: Any = None
        if self._console.is_terminal:
            text = TextColumn("{task.description}", markup=False)
            columns = (BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn())
            self._bar = Bar(*columns, console=self._console)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.unit, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Prints a line that stays above the bar."""
        self._console.print(text)

    def advance(self, number: int, text: str = "") -> None:
        """Counts `number` more as done; `text` is shown after the count."""
        self._done += number
        if self._bar is not None:
            self._bar.update(self._task, advance=number, description=f"{self.unit} {text}")
        elif number and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.note(f"{self._done}/{self.total} {self.unit} {text}")
