"""Defines the errors that a user can cause. Each message is one line: what is wrong, where, and what to do.

`utils.cli.run_cli` turns them into exit codes. Any other exception that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

EXIT_USER_ERROR = 2


class UserError(Exception):
    """A mistake of the user; the message is one line that names the mistake and the remedy."""

    exit_code = EXIT_USER_ERROR


class ConfigError(UserError):
    """A wrong key, type, value or combination in a config; the message gives the dotted path and the line."""


class ListError(UserError):
    """A wrong list or class file; the message gives the file and the line."""


class FrameError(UserError):
    """A frame or video that is missing or cannot be decoded; the message names the file."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or of another architecture."""


class LaunchError(UserError):
    """A failure of processes to meet: wrong variables, host or port; the message names the variable."""


class WorkerError(UserError):
    """The death of a process that loads data; the message names it. A launcher may start the run again."""

    exit_code = 1


class RankError(UserError):
    """The failure of another process of the run; the message names its rank, its host and the reason.

    exit_code: 2 if it was a UserError there, otherwise 1, so that the launcher may start the run again.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
