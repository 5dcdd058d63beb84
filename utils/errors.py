"""Errors that a user can cause, and the one place that turns them into exit codes.

A `UserError` is one line: what is wrong, where, what to do. Everything else that escapes is a bug of ours and keeps its
traceback.
"""

from __future__ import annotations

import argparse
import errno
import io
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

EXIT_USER_ERROR = 2
# a disk that is full or read-only, a file that belongs to somebody else: nothing that a traceback would explain
PLACES_THAT_REFUSE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


class UserError(Exception):
    """A mistake in what the user gave us; the message is one line that names it and the way out."""

    exit_code = EXIT_USER_ERROR


class ConfigError(UserError):
    """A wrong key, type, value or combination in a config; the message has the dotted path and the line."""


class ListError(UserError):
    """A wrong list or class file; the message has the file and the line."""


class FrameError(UserError):
    """A frame or video that is missing or cannot be decoded; the message names the file."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or of another architecture."""


class LaunchError(UserError):
    """Processes that cannot find each other: a half-set environment, a host, a port; the message names the variable."""


class PeerError(UserError):
    """Another process of the run has failed; the message names its rank, host and reason.

    exit_code: 2 when that was a user's error; else 1, so that whoever started the run may start it again.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
        sys.stdout.flush()
        sys.stderr.write("error: " + " ".join(str(error).splitlines()) + "\n")
        sys.exit(error.exit_code)
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
