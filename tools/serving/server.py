"""The local page of `tools.predict --serve`: drop a video, see its scores over time. What it says is in _serve_answers.

Standard library only. A name that an upload may have never comes here: the body of a request is the video. It goes into
a private temporary folder under a name of ours and is removed with its answer. URLs are looked up in a fixed table.
"""

from __future__ import annotations

import argparse
import html
import ipaddress
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from anal_tools.page_values import to_json
from anal_tools.report_html import plotly_script
from tools.inference.prediction import Settings
from tools.inference.trained import Trained
from tools.serving.answers import FORMATS, answer, check_upload
from tools.serving.queue import Queue
from utils.cli import positive_float
from utils.errors import UserError

PAGE = Path(__file__).with_name("page")
MEGABYTE = 1 << 20
MOST_CONNECTIONS = 32
MOST_UPLOADS = 8  # being sent, waiting or being answered; so many times the size limit fit the temporary folder at most
IDLE_SECONDS = 20  # without a byte
UPLOAD_SECONDS = 900  # for all of it
# OpenCV has an FFmpeg of its own, which must not see a playlist either where ours saw a video
CAPTURE_OPTIONS = f"format_whitelist;{FORMATS}|protocol_whitelist;file"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def serve(trained: Trained, settings: Settings, *, host: str, port: int, megabytes: int) -> int:
    """Serves until Ctrl-C or SIGTERM. Raises: UserError when it cannot listen there."""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = CAPTURE_OPTIONS
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="predict-") as folder:
        try:
            server = PageServer(host, port, trained, settings, limit=megabytes * MEGABYTE, folder=Path(folder))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot listen on {host}, port {port}: {reason}; take another --port or --host") from None
        with server:
            print(f"{server.url}  Ctrl-C ends it", flush=True)
            if not server.local:
                print("warning: everybody who reaches this address can send videos; no password", file=sys.stderr)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
    print()
    return 0


class PageServer(ThreadingHTTPServer):
    """A thread per connection, one video at a time.

    local: whether only this machine can reach it; then a request must also name this machine, so that a web page
    elsewhere cannot reach it through a name of its own (DNS rebinding). limit: bytes of an upload. folder: for uploads.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, trained: Trained, settings: Settings, *, limit: int, folder: Path) -> None:
        self.trained, self.settings, self.limit, self.folder = trained, settings, limit, folder
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.local = _is_loopback(host)
        self.queue, self.uploads = Queue(), threading.BoundedSemaphore(MOST_UPLOADS)
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.pages = _pages(trained, limit)
        super().__init__((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}/"
        names = {shown, "localhost", "127.0.0.1", "[::1]"}
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (names if self.server_port == 80 else set())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hangs up when there are too many connections already."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class RefusedError(Exception):
    """A request that gets an error page: status and the sentence for its reader."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """GET: the page and its parts. POST /predict: a video, answered by lines of JSON as they come."""

    server: PageServer
    timeout = IDLE_SECONDS
    server_version = sys_version = ""

    def do_GET(self) -> None:
        """The page or a part of it."""
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
            settings, length = self._settings(address.query), self._length()
            if not self.server.uploads.acquire(blocking=False):
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many videos are waiting; try again later")
            try:
                with tempfile.NamedTemporaryFile(dir=self.server.folder) as file:
                    self._receive(file, length)
                    self._answer(Path(file.name), settings)
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
        """A form or script of another site must not use us; browsers say whose it is."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
        if site not in ("same-origin", "none") or origin not in (None, f"http://{self.headers.get('Host')}"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "another site's page may not send videos here")

    def _settings(self, query: str) -> Settings:
        try:
            asked = {key: positive_float(value) for key, value in parse_qsl(query, strict_parsing=bool(query))}
            return replace(self.server.settings, window=asked.get("window"), step=asked.get("step"))
        except (ValueError, argparse.ArgumentTypeError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "window and step are seconds, numbers above 0") from None

    def _length(self) -> int:
        # neither of the kinds a form can send: with those another site's page could post without asking first
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/octet-stream" and not kind.startswith("video/"):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the video itself, as application/octet-stream")
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "say how long the video is, Content-Length: BYTES")
        if int(given) > self.server.limit:
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

    def _answer(self, path: Path, settings: Settings) -> None:
        try:
            check_upload(path)
        except UserError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        self._head(HTTPStatus.OK, "application/x-ndjson")
        with self.server.queue.ticket() as ahead:
            while number := ahead(1.0):
                self._event({"event": "waiting", "ahead": number})  # fails when the page is gone
            try:
                for event in answer(self.server.trained, path, settings):
                    self._event(event)
            except UserError as error:
                self._event({"event": "error", "error": str(error).replace(f"{path}: ", "")})
            except OSError:
                raise
            except Exception:
                traceback.print_exc()
                self._event({"event": "error", "error": "the program failed at it; its terminal says how"})

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
        """Reads a little of what is still coming: closed at once, the connection would swallow our answer."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            until = time.monotonic() + 2
            while time.monotonic() < until and self.connection.recv(MEGABYTE):
                pass

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is not a log of visits."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pages(trained: Trained, limit: int) -> dict[str, tuple[str, bytes]]:
    """Everything that a GET can ask for: content type and content by path."""
    about = f"{trained.path.name}: {trained.method.name}, {trained.num_class} classes"
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    data = to_json({"limit": limit, "megabytes": limit // MEGABYTE})
    page = page.replace("@ABOUT@", html.escape(about)).replace("@DATA@", data)
    scripts = {name: (PAGE / name).read_bytes() for name in ("style.css", "page.js")}
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/style.css": ("text/css; charset=utf-8", scripts["style.css"]),
        "/page.js": ("text/javascript; charset=utf-8", scripts["page.js"]),
        "/plotly.js": ("text/javascript; charset=utf-8", plotly_script().encode()),
    }
