"""Runs a command: in the test's own process, in a fork of it, or in a fresh interpreter.

A fresh interpreter takes three seconds to load torch: `start_tool` is for tests that need one. tests/test_start.py
starts every command as a file and as a module.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.requirements import ROOT
from tools.dumping import pool
from utils.cli import run_cli

ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


class Printed(NamedTuple):
    """What a command wrote to its two streams."""

    stdout: str
    stderr: str


def run_tool(tool: str, *arguments: object, cwd: Path | None = None, code: int = 0, folder: str = "tools") -> Printed:
    """Runs a command's `main` in this process, as its own start would, and expects that exit code."""
    main = importlib.import_module(f"{folder}.{tool}").main
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with (
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        _working_in(cwd),
        pytest.raises(SystemExit) as ended,
    ):
        run_cli(main, [*map(str, arguments)])
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    assert ended.value.code == code, f"exit code {ended.value.code}\n{out}\n{err}"
    return Printed(out, err)


def fork_tool(tool: str, *arguments: object, output: str | Path = os.devnull, folder: str = "tools") -> BaseProcess:
    """Forks a process that runs a command and can be killed. output: the file that gets what it prints."""
    main = importlib.import_module(f"{folder}.{tool}").main
    process = multiprocessing.get_context("fork").Process(target=_forked, args=(main, [*map(str, arguments)], output))
    process.start()
    return process


def _forked(main: Callable[[Sequence[str] | None], int | None], arguments: list[str], output: str | Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
    pool._CONTEXT = multiprocessing.get_context("spawn")  # the test's server of forks is not this process's
    with Path(output).open("w") as file:
        sys.stdout = sys.stderr = file
        run_cli(main, arguments)


def start_tool(
    tool: str,
    *arguments: object,
    as_module: bool = False,
    cwd: Path = ROOT,
    code: int = 0,
    folder: str = "tools",
    warnings: str = "default",
) -> Printed:
    """Starts a command in a fresh interpreter, runs it to its end and expects that exit code."""
    start = command(tool, *arguments, as_module=as_module, folder=folder, warnings=warnings)
    done = subprocess.run(start, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return Printed(done.stdout, done.stderr)


def command(
    tool: str, *arguments: object, as_module: bool = False, folder: str = "tools", warnings: str = "default"
) -> list[str]:
    """Returns the command line of <folder>/<tool>.py; `as_module` must be started in the project's folder."""
    start = ["-m", f"{folder}.{tool}"] if as_module else [str(ROOT / folder / f"{tool}.py")]
    return [sys.executable, "-W", warnings, *start, *map(str, arguments)]


@contextlib.contextmanager
def _working_in(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        yield
    finally:
        os.chdir(before)
