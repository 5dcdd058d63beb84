"""A real HTTP server on the loopback that hands out files as good and as bad servers do."""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("stall", "truncate", "die", "too long", "silent")  # in the middle of a file, or before the answer


class FileServer:
    """Serves `files` by path, with ranges. `faults[path]` lists what goes wrong with the next requests for it.

    A fault is one of FAULTS, a status such as 404, `"to ADDRESS"` for a redirect, "page" for a page in place of the
    file, "no length", "no ranges" or "". `always[path]` is a fault of all requests for a path, and `lengths[path]` what
    the server says of its length, which may be a lie.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.always: dict[str, Any] = {}
        self.ranges = True  # a camera knows none
        self.lengths: dict[str, int] = {}
        self.etag = '"1"'
        self.etags: dict[str, str] = {}  # of single files, in place of `etag`
        self.asked: list[tuple[str, str]] = []  # path and range of each request
        self.refusal: dict[str, str] = {}  # of a Hub that refuses everything: its headers
        self.tokens: set[str] = set()
        self.go_on = threading.Event()  # ends all stalls
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that has gone
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Answers from now on."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Ends all answers."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(**files: bytes) -> Iterator[FileServer]:
    """Yields a server of these files; a name `a` is the path /a."""
    server = FileServer()
    server.files |= {f"/{name}": content for name, content in files.items()}
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _bounds(wanted: str, length: int) -> tuple[int, int]:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, length) if last else length


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            content = server.files.get(self.path)
            fault = 401 if self.path != "/" and server.refusal else server.always.get(self.path)
            if isinstance(fault, int):
                return self._head(fault, 0, **server.refusal)
            if fault == "silent" and server.go_on.wait(30):
                return None
            about, length = ({"X-Repo-Commit": "0" * 40} if content else {}), len(content or b"")
            status = 200 if content or self.path == "/" else 404
            return self._head(status, server.lengths.get(self.path, length), **about)

        def do_GET(self) -> None:
            server.tokens |= {self.headers["Authorization"]} - {None}
            server.asked.append((self.path, self.headers.get("Range", "")))
            waiting = server.faults[self.path]
            fault = waiting.pop(0) if waiting else server.always.get(self.path, "")
            if fault == "silent" and server.go_on.wait(30):
                return
            if isinstance(fault, int) or self.path not in server.files:
                self.send_error(fault or 404)
                return
            if str(fault).startswith("to "):
                self._head(302, 0, Location=fault[3:])
                return
            self._send(server.files[self.path], fault)

        def _send(self, content: bytes, fault: str) -> None:
            wanted, same = self.headers.get("Range", ""), self.headers.get("If-Range", server.etag) == server.etag
            partial = bool(wanted and same and server.ranges and fault != "no ranges")
            start, stop = _bounds(wanted, len(content)) if partial else (0, len(content))
            if partial and start >= len(content):
                self._head(416, 0)
                return
            start = min(start + 7, stop) if fault == "another part" else start
            part = content[start:stop]
            length: int | None = len(part) + 1000 * (fault == "too long")
            more = {"Content-Type": "text/html; charset=utf-8"} if fault == "page" else {}
            if partial:
                more["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            if fault == "no length":
                length, self.close_connection = None, True
            self._head(206 if partial else 200, length, **more)
            middle = fault in ("stall", "truncate", "die")
            self.wfile.write(part[: len(part) // 2] if middle else part)
            self.wfile.flush()
            if fault == "stall":
                server.go_on.wait(30)
            if fault == "die":
                linger = struct.pack("ii", 1, 0)  # closing sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if middle or fault == "too long":
                self.close_connection = True

        def _head(self, status: int, length: int | None, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"ETag": server.etags.get(self.path, server.etag), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            if self.close_connection:
                self.send_header("Connection", "close")  # FFmpeg would ask for more on a connection that ends
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    return Handler
