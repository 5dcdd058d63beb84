"""Lets the processes of a run meet and watch each other: who has come, whether all run the same, who died and why.

They talk in torch's TCPStore (utils/processes/store.py), under these keys:

    open       the port of rank 0's line, and what has to be equal on all; rank 0 sets it
    rank N     the name of a process; whoever finds another one there has a rank that is taken
    come       how many have come and run the same
    news       why the run ends; the first to set it wins, and every process looks for it every LOOK_SECONDS
    read N     set when a process has read the news; rank 0 stays until all have, because the store ends with it
    asked      set after a collective has timed out without any news: who is at fault?
    at N       every process's answer, the number of collectives that it has entered

Silence is not death: a process that keeps Python's lock in a long call, is stopped or is swapped out answers nothing
and must not be called dead. Each process has a line to rank 0 besides, a TCP connection on which nothing is sent.
The system closes it at once when a process dies, whatever it was doing, or after 30 seconds when its machine loses
power; the news of it ends those as well that wait for the dead one in NCCL, which would wait for long.

Only the thread that watches uses the store after the meeting: while rank 0 is stopped, every call to its store waits
without end, and the main thread must not. No tensors are sent here.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from utils.errors import RankError, UserError
from utils.processes import store
from utils.processes.launch import Rank

LOOK_SECONDS = 0.5
MEETING_SECONDS = 0.05  # the same before all have come
NEWS_SECONDS = 2.0  # in which every process has read the news
SILENT_SECONDS = 4.0  # a process that has not answered after this long is stuck or stopped
GRACE_SECONDS = 5.0  # how long a process may continue after another one has failed
CONTEXT = 30  # characters shown on either side of a difference


@dataclasses.dataclass(frozen=True)
class News:
    """Says why the run ends.

    rank: the first rank that failed, -1 when the run has come to its end.
    message: its name and its reason.
    code: the exit code of all ranks.
    """

    rank: int
    message: str
    code: int


class Watch:
    """Watches the other processes of a run from this one.

    process: this process.

    Raises: LaunchError when the processes cannot meet within `timeout` seconds.
    """

    def __init__(self, process: Rank, timeout: float) -> None:
        self.process = process
        self._progress, self._entered = 0, time.monotonic()
        self._timeout = timeout
        self._hosts = process.is_first and not store.agent_hosts(process)
        self._server = store.host(process) if self._hosts else None
        self._store = store.connect(process, timeout) if process.is_first else store.find(process, timeout)
        self._name = f"rank {process.number} ({_host()}, process {os.getpid()})"
        self._host = f"torchrun's agent ({process.master})"  # the process that hosts the store
        self._news: News | None = None
        self._wanted: News | None = None  # what this process has to tell
        self._met, self._known, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._asked = 0.0  # when the question came who is at fault
        self._otherwise: News | None = None  # what this process has to tell if nobody is
        self._selector = selectors.DefaultSelector()
        self._bell, button = socket.socketpair()
        self._lines = [self._bell, button]
        self._selector.register(button, selectors.EVENT_READ, lambda button: button.recv(64))
        # a worker that outlives its killed parent must not keep the parent's lines open
        os.register_at_fork(after_in_child=functools.partial(_close, self._lines))
        self._thread = threading.Thread(target=self._watch, name="watches the other ranks", daemon=True)
        self._thread.start()

    def meet(self, same: Mapping[str, str]) -> None:
        """Waits until all ranks have come and run the same. Raises: RankError, which names who does not."""
        number, size = self.process.number, self.process.world_size
        owner = self._store.compare_set(f"rank {number}", "", self._name).decode()
        if self.process.is_first:
            self._store.set(store.OPEN, json.dumps({"line": self._listen(), "same": dict(same)}))
        opened = json.loads(self._store.get(store.OPEN))
        if not store.agent_hosts(self.process):
            self._host = self._name_of(0)
        if not self.process.is_first:
            self._dial(opened["line"])
        different = next((what for what, value in same.items() if opened["same"].get(what) != value), None)
        if owner != self._name:
            self._tell(News(number, f"{self._name} and {owner} have the same rank", 1))
        elif different is not None:
            contrast = _contrast(same[different], opened["same"].get(different, ""))
            self._tell(News(number, f"{self._name} differs from rank 0 in {different}: {contrast}", 2))
        else:
            self._store.add("come", 1)
        late = 0 if self.process.is_first else GRACE_SECONDS  # rank 0 knows best when it began to wait
        if not self._met.wait(self._timeout + late):
            missing = ", ".join(str(rank) for rank in range(size) if not self._store.check([f"rank {rank}"]))
            self._tell(News(number, f"{self._name}: rank(s) {missing} have not come within {self._timeout:g} s", 1))
        if self._failure is not None:
            raise self._failure

    def enter(self) -> None:
        """Counts a collective that this process is about to enter."""
        self._progress, self._entered = self._progress + 1, time.monotonic()

    def explain(self, error: BaseException, limit: float) -> RankError | None:
        """Tells all ranks why this process ends; returns the error of the process at fault if that is another one.

        limit: seconds that a collective may take. Only after so long the others are asked where they are: one that has
            not come yet may just be busy, and the error a mistake in the code.
        """
        if isinstance(error, RankError):
            return None
        reason, code = _reason(error)
        own = News(self.process.number, f"{self._name}: {reason}", code)
        vague = isinstance(error, RuntimeError)  # that of a collective says neither who failed nor why
        timed_out = time.monotonic() - self._entered > 0.9 * limit
        if vague and not self._known.wait(2 * LOOK_SECONDS) and timed_out:
            self._otherwise, self._asked = own, time.monotonic()
            if not self._known.wait(2 * SILENT_SECONDS):  # the store does not answer either
                return RankError(f"{self._host} has been silent for {2 * SILENT_SECONDS:.0f} s", 1)
        self._tell(own)
        return self._failure if vague and self._news != own else None

    def close(self) -> None:
        """Ends the watch when all processes know why; from here on the end of a process is not a failure."""
        self._tell(News(-1, "", 0))
        end = time.monotonic() + NEWS_SECONDS
        readers = [f"read {rank}" for rank in range(self.process.world_size)]
        while self._hosts and not self._store.check(readers) and time.monotonic() < end:
            time.sleep(0.02)
        self._closed.set()
        if self._known.is_set():  # else it waits for the store of a rank 0 that is stopped
            self._thread.join()
        _close(self._lines)

    @property
    def _failure(self) -> RankError | None:
        """The error that the news is, None when there is no news or no failure."""
        return RankError(self._news.message, self._news.code) if self._news is not None and self._news.code else None

    def _tell(self, news: News) -> None:
        """Lets the watching thread tell all ranks, unless there is other news already, and waits until it has."""
        self._wanted = self._wanted or news
        self._bell.send(b"!")
        self._known.wait(NEWS_SECONDS)

    def _listen(self) -> int:
        """Opens the port where rank 0 waits for the lines of the others."""
        family = socket.getaddrinfo(self.process.master, None, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(("", 0), family=family, backlog=self.process.world_size)
        self._listen_to(listener, self._accept)
        port: int = listener.getsockname()[1]
        return port

    def _dial(self, port: int) -> None:
        """Opens this process's line to rank 0. Raises: RankError when it does not answer."""
        try:
            line = socket.create_connection((self.process.master, port), timeout=self._timeout)
        except OSError as error:
            raise RankError(f"rank 0 ({self.process.master}) does not answer at its port {port} ({error})", 1) from None
        line.sendall(f"{self.process.token} rank {self.process.number}".encode())
        self._listen_to(line, functools.partial(self._end, 0))

    def _listen_to(self, line: socket.socket, heard: Callable[[socket.socket], object]) -> None:
        """Lets the watching thread call `heard` with the line when something has come over it."""
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):  # a machine that loses power sends no last packet; this notices after 30 s
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._lines.append(line)
        self._selector.register(line, selectors.EVENT_READ, heard)

    def _accept(self, listener: socket.socket) -> None:
        self._listen_to(listener.accept()[0], self._greet)

    def _greet(self, line: socket.socket) -> None:
        """Learns whose line it is."""
        token, _, rank = _read(line).partition(b" rank ")
        if token == self.process.token.encode():
            self._selector.modify(line, selectors.EVENT_READ, functools.partial(self._end, int(rank)))
        else:  # a stranger, or somebody who died at once
            self._selector.unregister(line)

    def _end(self, rank: int, line: socket.socket) -> None:
        """Notes that a process is at its end, which is a failure unless there is other news."""
        self._selector.unregister(line)
        if rank == 0 and not store.agent_hosts(self.process):  # and the store with it
            self._news = News(0, f"{self._host} has died", 1)
            return
        self._store.set(f"read {rank}", "")  # it will not read any more
        self._wanted = self._wanted or News(rank, f"{self._name_of(rank)} has died", 1)

    def _watch(self) -> None:
        """Watches until there is news, and ends this process if it goes on long after another one has failed."""
        try:
            while self._news is None:
                for key, _ in self._selector.select(LOOK_SECONDS if self._met.is_set() else MEETING_SECONDS):
                    key.data(key.fileobj)
                if self._news is None:
                    self._news = self._exchange()
        except RuntimeError:  # the connection to the store broke
            self._news = self._news or News(0, f"{self._host} has died", 1)
        self._known.set()
        self._met.set()
        # the main thread may wait in NCCL or compute for minutes without noticing
        if self._news.code and self._news.rank != self.process.number and not self._closed.wait(GRACE_SECONDS):
            sys.stderr.write(f"error: {self._news.message}\n")
            sys.stderr.flush()
            os._exit(self._news.code)

    def _exchange(self) -> News | None:
        """Tells the others what there is to tell, and returns the news if there is any."""
        if self._wanted is not None:
            found = self._store.compare_set("news", "", json.dumps(dataclasses.asdict(self._wanted)))
        elif self._store.check(["news"]):
            found = self._store.get("news")
        else:
            if not self._met.is_set() and self._store.add("come", 0) == self.process.world_size:
                self._met.set()
            if self._asked or self._store.check(["asked"]):
                self._answer()
            return None
        self._store.set(f"read {self.process.number}", "")
        return News(**json.loads(found))

    def _answer(self) -> None:
        """Says how far this process is, and SILENT_SECONDS later finds who has not said it or is behind the others."""
        self._asked = self._asked or time.monotonic()
        self._store.set("asked", "")
        if self._otherwise is not None:
            self._store.set(f"why {self.process.number}", json.dumps(dataclasses.asdict(self._otherwise)))
        self._store.set(f"at {self.process.number}", str(self._progress))
        if time.monotonic() - self._asked < SILENT_SECONDS:
            return
        ranks = range(self.process.world_size)
        at = {rank: int(self._store.get(f"at {rank}")) for rank in ranks if self._store.check([f"at {rank}"])}
        faults = [(rank, f"has been silent for {SILENT_SECONDS:g} s") for rank in ranks if rank not in at]
        behind = [rank for rank in at if at[rank] < max(at.values())]
        faults += [(rank, "has not come to where the others wait for it") for rank in behind]
        self._wanted = self._otherwise
        for rank, what in faults[:1]:
            own = self._store.get(f"why {rank}") if self._store.check([f"why {rank}"]) else None
            self._wanted = News(**json.loads(own)) if own else News(rank, f"{self._name_of(rank)} {what}", 1)

    def _name_of(self, rank: int) -> str:
        return self._store.get(f"rank {rank}").decode()


def _read(line: socket.socket) -> bytes:
    """Returns what has come over a line, nothing when its other end is gone."""
    try:
        return line.recv(256)
    except OSError:
        return b""


def _close(lines: Iterable[socket.socket]) -> None:
    for line in lines:
        line.close()


def _reason(error: BaseException) -> tuple[str, int]:
    """Returns what the others hear about an error, and the exit code that goes with it."""
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", 1


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _contrast(theirs: str, ours: str) -> str:
    """Shows the first difference between two texts with a few characters around it."""
    pairs = enumerate(itertools.zip_longest(theirs, ours))
    start = max(next((at for at, (a, b) in pairs if a != b), 0) - CONTEXT, 0)
    left, right = (text[start : start + 2 * CONTEXT].strip() for text in (theirs, ours))
    return f"{left!r} where rank 0 has {right!r}"
