"""Serves the local page of `tools.predict --serve`: drop a video, see its scores over time (answers.py).

Uses the standard library only. The name of an upload never comes here: the body of a request is the video. It goes into
a private temporary folder under a name of ours and is removed with its answer. URLs are looked up in a fixed table.
"""

from __future__ import annotations

import argparse
import html
import ipaddress
import json
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from anal_tools.page import plotly_script
from anal_tools.page_values import to_json
from tools.inference.arguments import BATCH_SIZE, TOPK
from tools.inference.recognizer import Recognizer, load_from_arguments
from tools.serving.answers import answer, check_upload
from utils.cli import positive_float
from utils.errors import UserError
from utils.run.stop import StopEarly

PAGE = Path(__file__).with_name("page")
MEGABYTE = 1 << 20
MOST_CONNECTIONS = 32
MOST_UPLOADS = 8  # being sent, waiting or being answered; the temporary folder holds at most that many size limits
IDLE_SECONDS = 20  # without a byte
UPLOAD_SECONDS = 900  # for a whole upload
DIGITS = 18  # of a Content-Length; Python refuses to read numbers of thousands of digits
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def run(args: argparse.Namespace) -> int:
    """Serves the page that tools/predict.py --serve asks for, until Ctrl-C or a signal that ends it.

    Raises: UserError when it cannot listen at that address.
    """
    recognizer = load_from_arguments(args)
    recognizer.refuse_whole_videos()
    host, port, limit = args.host, args.port, args.max_megabytes * MEGABYTE
    with tempfile.TemporaryDirectory(prefix="predict-") as name:
        folder = Path(name)
        try:
            server = PageServer(
                host, port, recognizer, limit=limit, folder=folder, topk=args.topk, batch_size=args.batch_size
            )
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot listen on {host}, port {port}: {reason}; take another --port or --host") from None
        with server, StopEarly() as server.stopping:
            print(f"{server.url}  Ctrl-C ends it", flush=True)
            if not server.local:
                print("warning: everybody who reaches this address can send videos; no password", file=sys.stderr)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
    with suppress(OSError):  # a terminal that was closed
        print()
    return 0


class Queue:
    """Lets one thread at a time through, first come, first served."""

    def __init__(self) -> None:
        self._tickets: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def ticket(self) -> Iterator[Callable[[float], int]]:
        """Takes a place; gives a function that waits some seconds for a change and returns how many are before us."""
        mine = object()
        with self._changed:
            self._tickets.append(mine)

        def ahead(seconds: float) -> int:
            with self._changed:
                if self._tickets[0] is not mine:
                    self._changed.wait(seconds)
                return self._tickets.index(mine)

        try:
            yield ahead
        finally:
            with self._changed:
                self._tickets.remove(mine)
                self._changed.notify_all()


class PageServer(ThreadingHTTPServer):
    """A server with a thread per connection, which looks at one video at a time.

    limit: bytes of an upload at most.
    folder: where uploads lie until they are answered.
    topk, batch_size: as in `Recognizer.predict`.
    stopping: notes a signal that asks it to end.
    local: whether only this machine can reach it. Then a request must also name this machine, so that a web page
        elsewhere cannot reach it through a name of its own (DNS rebinding).
    """

    daemon_threads = False  # torch aborts a process that ends while a thread computes

    def __init__(
        self,
        host: str,
        port: int,
        recognizer: Recognizer,
        *,
        limit: int,
        folder: Path,
        topk: int = TOPK,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.recognizer, self.limit, self.folder = recognizer, limit, folder
        self.topk, self.batch_size = topk, batch_size
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.local = _is_loopback(host)
        self.stopping: StopEarly | None = None
        self.queue, self.uploads = Queue(), threading.BoundedSemaphore(MOST_UPLOADS)
        self._connections, self._open = threading.BoundedSemaphore(MOST_CONNECTIONS), set[socket.socket]()
        self.pages = _pages(recognizer, limit)
        super().__init__((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}/"
        names = {shown, "localhost", "127.0.0.1", "[::1]"}
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (names if self.server_port == 80 else set())

    def service_actions(self) -> None:
        """Raises KeyboardInterrupt after a signal, between two connections: a thread that begins cannot be joined."""
        if self.stopping is not None and self.stopping():
            raise KeyboardInterrupt

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hangs up when there are already too many connections."""
        if self._connections.acquire(blocking=False):
            self._open.add(request)
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)
            self._connections.release()

    def server_close(self) -> None:
        """Hangs up on everybody and waits for the threads, each of which removes its upload."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints the error, unless it is a browser that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class RefusedError(Exception):
    """A request that is refused, with a status and a sentence for its reader."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers GET with the page and its parts, and POST /predict, a video, with lines of JSON as they come."""

    server: PageServer
    timeout = IDLE_SECONDS
    server_version = sys_version = ""

    def do_GET(self) -> None:
        """Sends the page or a part of it."""
        with self._refusals():
            self._check_host()
            if self.path not in self.server.pages:
                raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
            kind, content = self.server.pages[self.path]
            self._send(HTTPStatus.OK, kind, content)

    def do_POST(self) -> None:
        """Receives a video, waits for its turn and answers."""
        with self._refusals():
            self._check_host()
            self._check_origin()
            address = urlsplit(self.path)
            if address.path != "/predict":
                raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
            windows, length = self._windows(address.query), self._length()
            if not self.server.uploads.acquire(blocking=False):
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many videos are waiting; try again later")
            try:
                with tempfile.NamedTemporaryFile(dir=self.server.folder) as file:
                    self._receive(file, length)
                    self._answer(Path(file.name), windows)
            finally:
                self.server.uploads.release()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as refused:
            content = json.dumps({"error": str(refused)}).encode()
            self._send(refused.status, "application/json", content)
            self._drain()

    def _check_host(self) -> None:
        if self.server.local and self.headers.get("Host", "").lower() not in self.server.hosts:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"this page answers to {self.server.url} only")

    def _check_origin(self) -> None:
        """Refuses forms and scripts of other sites; browsers say whose they are."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
        if site not in ("same-origin", "none") or origin not in (None, f"http://{self.headers.get('Host')}"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "another site's page may not send videos here")

    def _windows(self, query: str) -> dict[str, float]:
        """Returns the `window` and `step` that are asked for, in seconds."""
        try:
            asked = {key: positive_float(value) for key, value in parse_qsl(query, strict_parsing=bool(query))}
            return {key: asked[key] for key in ("window", "step") if key in asked}
        except (ValueError, argparse.ArgumentTypeError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "window and step are seconds, numbers above 0") from None

    def _length(self) -> int:
        # not a kind that a form can send: another site's page could post those without asking first
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/octet-stream" and not kind.startswith("video/"):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the video itself, as application/octet-stream")
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "say how long the video is, Content-Length: BYTES")
        if len(given) > DIGITS or int(given) > self.server.limit:
            limit = self.server.limit // MEGABYTE
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the video is larger than {limit} MB (--max-megabytes)"
            )
        if int(given) == 0:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the file is empty")
        return int(given)

    def _receive(self, file: Any, length: int) -> None:
        deadline = time.monotonic() + UPLOAD_SECONDS
        try:
            while length:
                piece = self.rfile.read1(min(length, MEGABYTE))
                if not piece or time.monotonic() > deadline:
                    raise TimeoutError
                file.write(piece)
                length -= len(piece)
            file.flush()
        except TimeoutError:
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the upload stopped before its end") from None
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise RefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE, f"the video cannot be stored: {error.strerror}"
            ) from None

    def _answer(self, path: Path, windows: dict[str, float]) -> None:
        try:
            check_upload(path)
        except UserError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        self._head(HTTPStatus.OK, "application/x-ndjson")
        with self.server.queue.ticket() as ahead:
            while number := ahead(1.0):
                self._event({"event": "waiting", "ahead": number})  # fails when the page is gone
            server = self.server
            try:
                for event in answer(server.recognizer, path, topk=server.topk, batch_size=server.batch_size, **windows):
                    self._event(event)
            except UserError as error:
                self._event({"event": "error", "error": str(error).replace(f"{path}: ", "")})
            except OSError:
                raise
            except Exception:
                traceback.print_exc()
                self._event({"event": "error", "error": "the program failed on it; its terminal says how"})

    def _event(self, event: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(event, allow_nan=False).encode() + b"\n")

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self._head(status, kind, len(content))
        self.wfile.write(content)

    def _drain(self) -> None:
        """Reads a little of what is still coming; a connection that is closed at once would swallow our answer."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            until = time.monotonic() + 2
            while time.monotonic() < until and self.connection.recv(MEGABYTE):
                pass

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing: the terminal is not a log of visits."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pages(recognizer: Recognizer, limit: int) -> dict[str, tuple[str, bytes]]:
    """Returns everything that a GET can ask for: content type and content by path."""
    network = f"{recognizer.path.name}: {recognizer.method.name}, {recognizer.num_class} classes"
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    data = to_json({"limit": limit, "megabytes": limit // MEGABYTE})
    page = page.replace("@NETWORK@", html.escape(network)).replace("@DATA@", data)
    scripts = {name: (PAGE / name).read_bytes() for name in ("style.css", "page.js")}
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/style.css": ("text/css; charset=utf-8", scripts["style.css"]),
        "/page.js": ("text/javascript; charset=utf-8", scripts["page.js"]),
        "/plotly.js": ("text/javascript; charset=utf-8", plotly_script().encode()),
    }
