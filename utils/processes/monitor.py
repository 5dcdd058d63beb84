"""Lets the processes of a run watch each other: who has come, whether all run the same, who has died and why.

Every process keeps one TCP connection to rank 0 for the whole run. A process that is killed loses its connection at
once, whatever it was doing, and all others learn its name. A collective alone would only say "connection reset" or wait
for its timeout. No tensors are sent here.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from utils.errors import LaunchError, RankError
from utils.processes.connection import Connection, connect, listen
from utils.processes.launch import Rank

BEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0  # a process without a message for this long is stuck or stopped
GRACE_SECONDS = 5.0  # how long a process may continue after another one has failed
LATE_SECONDS = 2.0  # for which rank 0 still reports a failure to processes that come late
CONTEXT = 30  # characters shown on either side of a difference


@dataclass(frozen=True)
class Failure:
    """Says why the run ends.

    rank: the first rank that failed.
    message: its name and its reason.
    code: the exit code of all ranks.
    """

    rank: int
    message: str
    code: int


class RankMonitor:
    """Watches the other processes of a run from this one. Its threads never touch tensors.

    process: this process.
    failure: the first failure, None while all is well.
    progress: the number of collectives that this process has entered. It is sent with each heartbeat, so that a process
        that lags behind can be named.
    welcome: what rank 0 sends to all once they have come.
    """

    def __init__(self, process: Rank) -> None:
        self.process = process
        self.failure: Failure | None = None
        self.progress = 0
        self.welcome: dict[str, Any] = {}
        self._failed = threading.Event()
        self._closing = False
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Waits until all ranks have come and run the same. Raises: RankError or LaunchError otherwise."""
        raise NotImplementedError

    def report(self, message: str, code: int) -> None:
        """Tells all ranks that this process fails, with the reason and its exit code."""
        raise NotImplementedError

    def ask(self) -> None:
        """Asks rank 0 which process is stuck, after a collective has failed here."""
        raise NotImplementedError

    def close(self) -> None:
        """Says goodbye; from here on the end of a process is not a failure."""
        raise NotImplementedError

    def blame(self, seconds: float = GRACE_SECONDS - 1) -> RankError | None:
        """Returns the error of the process at fault after a collective failed here; waits a moment for the news."""
        if not self._failed.wait(seconds / 2):
            self.ask()
            self._failed.wait(seconds / 2)
        failure = self.failure
        return None if failure is None else RankError(failure.message, failure.code)

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            if self.failure is not None or self._closing:
                return
            self.failure = failure
        self._failed.set()
        if failure.rank != self.process.number:
            # the main thread may wait in NCCL or compute for minutes without noticing
            timer = threading.Timer(GRACE_SECONDS, self._leave)
            timer.daemon = True
            timer.start()

    def _leave(self) -> None:
        if self.failure is not None and not self._closing:
            sys.stderr.write(f"error: {self.failure.message}\n")
            sys.stderr.flush()
            os._exit(self.failure.code)

    def _name(self, rank: int, host: str, pid: int) -> str:
        return f"rank {rank} ({host}, process {pid})"


class Server(RankMonitor):
    """Monitors from rank 0, which all others are connected to."""

    def __init__(
        self, process: Rank, *, port: int, same: Mapping[str, str], timeout: float, welcome: Mapping[str, Any]
    ) -> None:
        super().__init__(process)
        self._same, self.welcome = dict(same), dict(welcome)
        self._listener = listen(process, port)
        self.port: int = self._listener.getsockname()[1]
        self._members: dict[int, Connection] = {}
        # held until all are informed, because whoever sees the failure may end this process
        self._spreading = threading.RLock()
        self._arrived = threading.Event()
        self._timeout = timeout
        self._thread = threading.Thread(target=self._serve, name="rank monitor", daemon=True)
        self._thread.start()

    @override
    def wait(self) -> None:
        end = time.monotonic() + self._timeout
        while not self._arrived.wait(0.05):
            if self.failure is not None:
                break
            if time.monotonic() > end:
                missing = sorted(set(range(1, self.process.world_size)) - self._members.keys())
                self.report(f"rank(s) {', '.join(map(str, missing))} have not come within {self._timeout:g} s", 1)
                break
        if self.failure is not None:
            late = time.monotonic() + LATE_SECONDS  # those who come a moment later learn the reason as well
            while not self._all_informed() and time.monotonic() < min(late, end):
                time.sleep(0.05)
            raise RankError(self.failure.message, self.failure.code)

    @override
    def report(self, message: str, code: int) -> None:
        self._spread(Failure(0, f"{self._name(0, _host(), os.getpid())}: {message}", code))

    @override
    def ask(self) -> None:
        now = time.monotonic()
        members = self._members.values()
        silent = [member for member in members if now - member.heard > SILENT_SECONDS]
        least = min((member.progress for member in members), default=0)
        slow = [member for member in members if member.progress == least] if least < self.progress - 1 else []
        for member in silent or slow[:1]:
            seconds = now - member.heard
            what = (
                f"has been silent for {seconds:.0f} s"
                if silent
                else "has not reached the point where the others wait for it"
            )
            self._spread(Failure(member.rank, f"{member.name} {what}", 1))

    @override
    def close(self) -> None:
        self._closing = True
        for member in list(self._members.values()):
            member.send({"bye": True})
        self._listener.close()

    def _all_informed(self) -> bool:
        with self._spreading:
            return len(self._members) == self.process.world_size - 1

    def _spread(self, failure: Failure) -> None:
        with self._spreading:
            first = self.failure or failure
            for member in list(self._members.values()):
                member.send({"failed": first.message, "rank": first.rank, "code": first.code})
            self._fail(first)

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        while not self._closing:
            with contextlib.suppress(OSError, ValueError):  # `close` closes the listener in another thread
                for key, _ in selector.select(1.0):
                    if key.data is None:
                        self._accept(selector)
                    else:
                        self._read(selector, key.data)
            if self._listener.fileno() == -1:
                break

    def _accept(self, selector: selectors.BaseSelector) -> None:
        connection, _ = self._listener.accept()
        member = Connection(connection)
        member.greet(self.process.token)
        selector.register(connection, selectors.EVENT_READ, member)

    def _read(self, selector: selectors.BaseSelector, member: Connection) -> None:
        messages = member.receive()
        if messages is None:
            selector.unregister(member.socket)
            member.socket.close()
            if member.rank >= 0 and not member.left:
                self._spread(Failure(member.rank, f"{member.name} has died", 1))
            return
        for message in messages:
            self._handle(member, message)

    def _handle(self, member: Connection, message: dict[str, Any]) -> None:
        member.heard = time.monotonic()
        if message.get("token") == self.process.token and "rank" in message:
            with self._spreading:
                self._enter(member, message)
        elif "beat" in message:
            member.progress = int(message["beat"])
        elif "failed" in message:
            member.left = True
            self._spread(Failure(member.rank, f"{member.name}: {message['failed']}", int(message["code"])))
        elif "ask" in message:
            self.ask()
        elif "bye" in message:
            member.left = True

    def _enter(self, member: Connection, message: dict[str, Any]) -> None:
        rank = int(message["rank"])
        member.rank, member.name = rank, self._name(rank, message["host"], message["pid"])
        if rank in self._members:
            self._spread(Failure(rank, f"{member.name} and {self._members[rank].name} have the same rank", 1))
            member.send({"failed": "this rank is taken", "rank": rank, "code": 1})
            return
        self._members[rank] = member
        for what, value in self._same.items():
            theirs = message["same"].get(what)
            if theirs != value:
                self._spread(
                    Failure(rank, f"{member.name} differs from rank 0 in {what}: {_contrast(theirs, value)}", 2)
                )
                return
        if self.failure is not None:
            member.send({"failed": self.failure.message, "rank": self.failure.rank, "code": self.failure.code})
        elif len(self._members) == self.process.world_size - 1:
            for other in self._members.values():
                other.send({"welcome": self.welcome})
            self._arrived.set()


class Client(RankMonitor):
    """Monitors from any rank but 0."""

    def __init__(self, process: Rank, *, port: int, same: Mapping[str, str], timeout: float) -> None:
        super().__init__(process)
        self._server = connect(process, port, timeout)
        hello = {
            "token": process.token, "rank": process.number, "host": _host(), "pid": os.getpid(), "same": dict(same)
        }  # fmt: skip
        self._server.send(hello)
        self._welcomed = threading.Event()
        self._timeout = timeout
        self._thread = threading.Thread(target=self._listen, name="rank monitor", daemon=True)
        self._thread.start()

    @override
    def wait(self) -> None:
        end = time.monotonic() + self._timeout + 5  # rank 0 knows who is missing, so it reports first
        while not self._welcomed.wait(0.05) and self.failure is None:
            if time.monotonic() > end:
                raise LaunchError(
                    f"rank {self.process.number}: rank 0 did not admit this process within {self._timeout:g} s"
                )
        if self.failure is not None:
            raise RankError(self.failure.message, self.failure.code)

    @override
    def report(self, message: str, code: int) -> None:
        self._server.send({"failed": message, "code": code})
        self._fail(Failure(self.process.number, message, code))

    @override
    def ask(self) -> None:
        self._server.send({"ask": True})

    @override
    def close(self) -> None:
        self._closing = True
        self._server.send({"bye": True})
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        self._server.socket.settimeout(BEAT_SECONDS)
        while not self._closing:
            try:
                messages = self._server.receive()
            except TimeoutError:
                self._server.send({"beat": self.progress})
                continue
            if messages is None:
                if not self._server.left:
                    self._fail(Failure(0, f"rank 0 ({self.process.master}) has died", 1))
                return
            for message in messages:
                if "welcome" in message:
                    self.welcome = message["welcome"]
                    self._welcomed.set()
                elif "failed" in message:
                    self._fail(Failure(message["rank"], message["failed"], message["code"]))
                elif "bye" in message:
                    self._server.left = True


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _contrast(theirs: str | None, ours: str) -> str:
    """Shows the first difference between two texts with a few characters around it."""
    theirs = theirs or ""
    common = next(
        (at for at, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours))
    )
    start = max(common - CONTEXT, 0)
    left, right = (text[start : common + CONTEXT].strip() for text in (theirs, ours))
    return f"{left!r} where rank 0 has {right!r}"
