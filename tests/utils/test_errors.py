from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT
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
        (OSError(errno.ENAMETOOLONG, "File name too long", "x x"), 2, "error: x x: File name too long\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 2, "error: /data/x: Permission denied\n"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            2,
            "error: Too many open files: allow this process more with `ulimit -n 4096`, or use fewer workers\n",
        ),
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


PRINTS = """
import sys
from pathlib import Path
from utils.cli import run_cli

def main(argv):
    with Path(sys.argv[1]).open("w") as file:
        print("to the terminal", flush=True)
        print("to the terminal", file=sys.stderr, flush=True)
        file.write(f"number {file.fileno()}")

run_cli(main)
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_harms_neither_the_command_nor_its_files(tmp_path: Path, closed: str) -> None:
    written = tmp_path / "x"
    command = f'exec "$0" -c "$1" "$2" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, PRINTS, str(written)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert int(written.read_text().removeprefix("number ")) > 2  # nothing else is printed into the file


def test_a_reader_that_has_ended_is_no_traceback() -> None:
    code = "from utils.cli import run_cli; run_cli(lambda argv: [print(i) for i in range(10**6)] and None)"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -n 1; exit ${PIPESTATUS[0]}', sys.executable, code],
        cwd=ROOT,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, b"0\n", b"")


ENDED = """
import os, sys
from utils.cli import run_cli
from utils.console import TextConsole
def main(argv):
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    {}
run_cli(main, [])
"""


@pytest.mark.parametrize(
    "prints", ["print('x' * 100_000)", "print('a line that is still in the buffer')", "TextConsole().print('x' * 10)"]
)
def test_every_way_to_print_to_a_reader_that_has_ended_ends_alike(prints: str) -> None:
    done = subprocess.run([sys.executable, "-c", ENDED.format(prints)], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (141, b"")


def test_success_exits_with_zero() -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda argv: None, [])
    assert ended.value.code == 0
