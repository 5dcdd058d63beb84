"""The TCP connections of peers.py: finding rank 0, and messages as lines of JSON."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from utils.errors import LaunchError
from utils.processes.launch import Rank

PORT_SECONDS = 10.0  # how long a taken port may belong to the attempt before, which is still dying
MAGIC = "video-analysis peers 1"


class Connection:
    """One end of a connection that speaks JSON lines.

    rank, name: who is at the other end, once it has said so.
    left: it has said goodbye, or told why it fails; its silence is no news then.
    progress, heard: from its last heartbeat.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.rank, self.name = -1, ""
        self.left = False
        self.progress = 0
        self.heard = time.monotonic()
        self._rest = b""
        self._sending = threading.Lock()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):  # a node without power sends no last packet: found after 30 s
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def greet(self, token: str) -> None:
        """Says what listens here, so that a process at the wrong port finds out at once."""
        self.send({"magic": MAGIC, "token": token})

    def send(self, message: Mapping[str, Any]) -> None:
        """A member that is gone is found by reading, not by writing."""
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come whole; None when the other side is gone. Raises: TimeoutError."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            return [message for line in lines if isinstance(message := json.loads(line), dict)]
        except ValueError:  # a stranger who does not speak our language
            return None


def listen(process: Rank, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes any. Raises: LaunchError when the port stays taken."""
    end = time.monotonic() + PORT_SECONDS
    family = socket.getaddrinfo(process.master, None, type=socket.SOCK_STREAM)[0][0]
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
            listener.listen(process.world_size)
        except OSError as error:
            listener.close()
            if time.monotonic() > end:
                where = f"port {port} of {process.master}"
                raise LaunchError(
                    f"rank 0 cannot listen on {where} ({error.strerror}): set MASTER_PORT to a free one"
                ) from None
            time.sleep(0.2)
        else:
            return listener


def connect(process: Rank, port: int, timeout: float) -> Connection:
    """Finds rank 0. Raises: LaunchError when somebody else answers there, or nobody within `timeout` seconds."""
    where = f"rank {process.number}: {process.master}:{port}, where rank 0 should be,"
    end, stranger_end = time.monotonic() + timeout, time.monotonic() + PORT_SECONDS
    while True:
        try:
            member = Connection(socket.create_connection((process.master, port), timeout=PORT_SECONDS / 2))
            greeting = (member.receive() or [{}])[0]
        except OSError as error:  # TimeoutError is one too: it accepts and says nothing
            if time.monotonic() > end or (isinstance(error, TimeoutError) and time.monotonic() > stranger_end):
                raise LaunchError(
                    f"{where} does not answer ({error}); is rank 0 running? else set MASTER_PORT"
                ) from None
            time.sleep(0.1)
            continue
        if greeting.get("magic") == MAGIC and greeting.get("token") == process.token:
            return member
        member.socket.close()
        if time.monotonic() > stranger_end:
            raise LaunchError(f"{where} is another program's or another run's port; set MASTER_PORT to a free one")
        time.sleep(0.2)
