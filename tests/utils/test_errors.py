from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence

import pytest

from utils.cli import run_cli
from utils.config.command_line import parse_arguments
from utils.errors import ConfigError, RankError


def raising(error: BaseException) -> Callable[[Sequence[str] | None], int]:
    def main(argv: Sequence[str] | None) -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("common.x: wrong\nover two lines"), 2, "error: common.x: wrong over two lines\n"),
        (RankError("rank 1 has died", 1), 1, "error: rank 1 has died\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 2, "error: /data/x: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 2, "error: /data/x: Permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_a_users_error_is_one_line_and_its_exit_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(raising(error), [])
    assert ended.value.code == code and capsys.readouterr().err == text


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        run_cli(raising(FileNotFoundError(errno.ENOENT, "No such file", "x")), [])


def test_a_wrong_argument_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(parse_arguments, ["--config", "x.yaml", "--nope"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --nope (see main.py --help)\n"


def test_a_path_that_is_no_utf8_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="utf-8"))
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda argv: sys.stdout.write(os.fsdecode(b"caf\xe9")) and None, [])
    sys.stdout.flush()
    assert ended.value.code == 0 and written.getvalue() == rb"caf\udce9"


def test_success_exits_with_zero() -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda argv: None, [])
    assert ended.value.code == 0
