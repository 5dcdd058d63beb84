"""Asks the operating system for what Linux, macOS and Windows provide in different ways.

What one of them lacks is imported and named only here, so that main.py and every tool start on all three.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

try:
    import fcntl
    import resource
except ImportError:  # Windows has neither
    fcntl = resource = None  # type: ignore[assignment]

# what asks a run to end. SIGINT: Ctrl-C. SIGTERM: the cluster takes the node. SIGUSR1: Slurm's warning before a limit
# SIGHUP: the terminal was closed, or the connection to it was lost.
STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)  # no USR1 and HUP on Windows
)
SEVERAL_PROCESSES = os.name == "posix"  # whether the processes of a run may meet here: untested on Windows
LOCKED_BYTE = 1 << 30  # the byte that Windows locks, which nobody can read then: far behind the text of a lock file
TASKS = Path("/proc/self/task")  # a folder for each thread of this process; Linux only
CGROUP = Path("/sys/fs/cgroup")  # where Linux tells the limits of a container
ADDRESS_OF_INTERFACE = 0x8915  # Linux's SIOCGIFADDR


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Lets a signal that ends this process leave it like an exception, so that temporary files are removed.

    The exit code is the one that a shell reports for the signal. What is ignored, as SIGHUP under nohup, stays ignored.
    """
    here = threading.current_thread() is threading.main_thread()  # only it may set handlers
    caught = [number for number in STOP_SIGNALS if here and signal.getsignal(number) == signal.SIG_DFL]

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in caught:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def open_streams() -> None:
    """Gives this process the standard streams that it was started without (`>&-`): no file may take their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - these stay open, and are no paths
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def discard(stream: IO[str]) -> None:
    """Discards whatever is written to a stream from now on: its terminal was closed, or its reader has ended."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a number is no pipe
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)


def wait_asleep() -> None:
    """Lets OpenMP's threads sleep while they wait for each other, unless the environment says how they wait.

    By default they spin. Where another program takes a core, the others then spin until it comes back: a step was 20
    times slower. OpenMP reads the environment when torch loads it, so call this before.
    """
    if not {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def usual_priority() -> Iterator[None]:
    """Keeps code of others from making this process a real-time one: all its threads get their policy back at the end.

    SVT-AV1 does so where it runs as root, with its threads and the one that opens it. Everything that this process
    starts later would inherit that, and where such processes wait by spinning, nothing else on the machine gets a turn.
    """
    if not TASKS.is_dir():
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in TASKS.iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(int(thread.name)) != before[0]:
                    os.sched_setscheduler(int(thread.name), *before)


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(number, _time_limit()))


def _time_limit() -> float:
    """Returns how many cores' time a container may use."""
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        used, each = (int((CGROUP / f"cpu/cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period"))
        return used / each if used > 0 else math.inf
    return math.inf


def total_memory() -> int | None:
    """Returns the bytes of memory that this process may use at most, None where the system does not tell."""
    limits = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for group in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):  # of a container
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int(Path(group).read_text(encoding="ascii")))
    return min(limits, default=None)


def peak_memory() -> int | None:
    """Returns the most bytes of memory that this process has used so far, None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux, where getrusage may tell the parent's peak
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def lock(file: IO[str], *, shared: bool = False) -> bool:
    """Locks an open file against other processes until it is closed; returns False when another process holds it.

    shared: whether others may hold the file in the same way, though not alone; it must be open for reading then.
        Windows knows no such lock, and always returns False.
    The system drops the lock together with this process, whatever ended it. On POSIX it is a record lock, which
    children do not inherit: loader processes that outlive a killed parent do not keep it.
    """
    try:
        if fcntl is not None:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        elif shared:
            return False
        else:
            import msvcrt

            os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
    except OSError:
        return False
    return True


def interface_of(address: str) -> str | None:
    """Returns the name of the network interface that has this IPv4 address; None where none is found (Linux only)."""
    if fcntl is None:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), ADDRESS_OF_INTERFACE, request)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None


def above_zero(text: str) -> float | None:
    """Reads a number above 0 and below a million from the text of a variable; None if it is anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < 1e6 else None
