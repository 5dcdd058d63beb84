"""Serves a folder over HTTP with ranges, in a process of its own, for benchmarks of reading from far away."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yields the address of a server of the files in a folder."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


def _serve(folder: Path, connection: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._head(200, 0, (folder / self.path[1:]).stat().st_size)

        def do_GET(self) -> None:
            file = folder / self.path[1:]
            size = file.stat().st_size
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or size) + 1, size)
            self._head(206, start, stop, size)
            with file.open("rb") as opened:
                self.connection.sendfile(opened, start, stop - start)

        def _head(self, status: int, start: int, stop: int, size: int | None = None) -> None:
            self.send_response(status)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(stop - start))
            if size is not None:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    connection.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()
