"""Finds rank 0 over TCP and exchanges messages with it as lines of JSON, for utils/processes/monitor.py."""

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

PORT_SECONDS = 10.0  # how long a taken port may still belong to the previous attempt, which is ending
MAGIC = "video-analysis ranks 1"


class Connection:
    """One end of a TCP connection that carries JSON lines.

    rank: the rank at the other end, -1 until it has introduced itself.
    name: its description for messages.
    left: True once it has said goodbye or has said why it fails; a closed connection means nothing then.
    progress: the number of collectives that it had entered at its last heartbeat.
    heard: the time of its last message, on the monotonic clock.
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
            if hasattr(socket, option):  # a node that loses power sends no last packet; this notices after 30 s
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def greet(self, token: str) -> None:
        """Sends which program and run listens here, so that a process at the wrong port notices at once."""
        self.send({"magic": MAGIC, "token": token})

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message. Ignores a lost connection, which is noticed when reading."""
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """Returns the messages that have arrived completely; None when the other side is gone. Raises: TimeoutError."""
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
        except ValueError:  # another program, which speaks another protocol
            return None


def listen(process: Rank, port: int) -> socket.socket:
    """Opens a listening socket; `port` 0 takes any free port. Raises: LaunchError when the port stays taken."""
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
                    f"rank 0 cannot listen on {where} ({error.strerror}): set MASTER_PORT to a free port"
                ) from None
            time.sleep(0.2)
        else:
            return listener


def connect(process: Rank, port: int, timeout: float) -> Connection:
    """Connects to rank 0. Raises: LaunchError when another program answers, or nobody within `timeout` seconds."""
    where = f"rank {process.number}: {process.master}:{port}, where rank 0 should be,"
    end, stranger_end = time.monotonic() + timeout, time.monotonic() + PORT_SECONDS
    while True:
        try:
            member = Connection(socket.create_connection((process.master, port), timeout=PORT_SECONDS / 2))
            greeting = (member.receive() or [{}])[0]
        except OSError as error:  # includes TimeoutError: something accepts the connection and says nothing
            if time.monotonic() > end or (isinstance(error, TimeoutError) and time.monotonic() > stranger_end):
                raise LaunchError(
                    f"{where} does not answer ({error}); if rank 0 is running, set MASTER_PORT to another port"
                ) from None
            time.sleep(0.1)
            continue
        if greeting.get("magic") == MAGIC and greeting.get("token") == process.token:
            return member
        member.socket.close()
        if time.monotonic() > stranger_end:
            raise LaunchError(f"{where} belongs to another program or another run; set MASTER_PORT to a free port")
        time.sleep(0.2)
