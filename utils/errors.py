"""Defines the errors that a user can cause. Each message is one line: what is wrong, where, and what to do.

`utils.cli.run_cli` turns them into exit codes. Any other exception that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

EXIT_USER_ERROR = 2


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


class RankError(UserError):
    """Another process of the run has failed; the message names its rank, host and reason.

    exit_code: 2 when that was a user's error; else 1, so that whoever started the run may start it again.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
