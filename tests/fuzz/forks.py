"""Reads a file in a process of its own, with bounds on time and memory, and says how that ended."""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import re
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch

from utils.cli import run_cli

SECONDS = 10  # of processor time for one small file
MEGABYTES = 512  # more than the process had before
WALL_SECONDS = 120  # a process that waits for something uses no processor time
# what reading a file has no business with
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "pty.spawn")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BROKE_OUT = 99


class Outcome(NamedTuple):
    """How one input ended. problem: "" if it was read (code 0) or refused (code 2) as it should be."""

    code: int
    seconds: float
    megabytes: float
    problem: str
    printed: str


def prepare_to_fork() -> None:
    """Keeps libraries from having threads, which a fork would lose."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def read_in_fork(read: Callable[[], Any], folder: Path) -> Outcome:
    """Runs `read` as a command would run, in a fork that works in `folder`."""
    with tempfile.TemporaryFile() as output, mmap.mmap(-1, 8) as before:  # memory that the fork shares
        with warnings.catch_warnings():  # Python 3.12 warns of threads, which `prepare_to_fork` keeps away
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if not process:
            _child(read, folder, output.fileno(), before)
        _, status, used = os.wait4(process, 0)
        output.seek(0)
        printed = output.read().decode(errors="replace")
        megabytes = max(0.0, used.ru_maxrss / 1024 - struct.unpack("d", before[:])[0])
    seconds, code = used.ru_utime + used.ru_stime, os.waitstatus_to_exitcode(status)
    return Outcome(code, seconds, megabytes, _problem(code, megabytes, printed), printed)


def _problem(code: int, megabytes: float, printed: str) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL):
        return "takes too long"
    if code == _BROKE_OUT:
        return "does what no file may do"
    if code not in (0, 2):
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ends with code {code}"
    if "Traceback (most recent call last)" in printed:
        return "prints a traceback"
    if megabytes > MEGABYTES:
        return f"takes {megabytes:.0f} MiB"
    if _CONTROLS.search(printed):
        return "prints control characters"
    return "" if code == 0 or printed.count("error: ") else "ends with code 2 without an error"


def _resident() -> float:
    """Returns the MiB that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def _child(read: Callable[[], Any], folder: Path, output: int, before: mmap.mmap) -> None:
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = open(output, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        faulthandler.enable(sys.stderr)
        _bound(folder)
        before[:] = struct.pack("d", _resident())
        run_cli(lambda _: read() and None, [])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        os._exit(code)


def _bound(folder: Path) -> None:
    for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (3 << 30), resource.RLIM_INFINITY))
    os.chdir(folder)
    tempfile.tempdir = os.environ["XDG_CACHE_HOME"] = str(folder)
    sys.dont_write_bytecode = True
    allowed = (str(folder), "/dev/", "/proc/")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN:
            _broke_out(event, arguments)
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path, flags = os.fsdecode(arguments[0]), arguments[2]
            if flags & (os.O_WRONLY | os.O_RDWR) and os.path.isabs(path) and not path.startswith(allowed):  # noqa: PTH117
                _broke_out(event, arguments)

    sys.addaudithook(watch)


def _broke_out(event: str, arguments: tuple[Any, ...]) -> None:
    os.write(2, f"{event} {arguments!r}\n".encode(errors="replace"))
    os._exit(_BROKE_OUT)
