"""Downloads a file over HTTP: whole or not at all, from where a broken transfer ended, and without ever hanging.

Proxies come from http_proxy, https_proxy and no_proxy. WEIGHTS_MIRROR=ADDRESS asks ADDRESS/HOST/PATH instead of
https://HOST/PATH. WEIGHTS_TIMEOUT is the longest silence of a server, in seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import shutil
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any

from utils.errors import CheckpointError
from utils.files import sha256 as sha256_of
from utils.files import sync_folder
from utils.published.sums import keep_sum
from utils.system import above_zero

TIMEOUT = 10.0
FIRST_TIMEOUT = 5.0  # seconds until any answer of a server that may be out of reach; loading torch takes as long again
TRIES = 3  # broken transfers in a row that have brought nothing new
PAUSE = 1.0  # seconds before another try
PIECE = 1 << 20
Report = Callable[[int, int], None]  # bytes that have come, bytes in all (0: unknown)


class _BrokenError(Exception):
    """A transfer that ended early; another try may go on from there."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to an address that nothing protects."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Returns the request for the new address. Raises: CheckpointError if that is no https any more."""
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise CheckpointError(f"{req.full_url}: sends to {newurl}, which is not protected; nothing was downloaded")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, target: Path, *, sha256: str = "", report: Report = lambda done, total: None) -> None:
    """Downloads `url` to `target`, whose folder must exist; what has come of a broken transfer waits in TARGET.part.

    sha256: first digits of the file's SHA-256; a file with others is kept under another name. Without them, what came
        is noted beside the file, so that later changes are seen.
    Raises: CheckpointError in one line.
    """
    url, part = mirrored(url), target.with_name(f"{target.name}.part")
    failures, furthest, first = 0, _size(part), True
    while True:
        try:
            _transfer(url, part, known=bool(sha256), report=report, first=first)
            break
        except _BrokenError as error:
            came, first = _size(part), False
            failures = 0 if came > furthest else failures + 1
            furthest = max(furthest, came)
            if failures >= TRIES:
                raise CheckpointError(f"{url}: {error}; the same command goes on after the {_mb(came)} here") from None
            time.sleep(PAUSE)
    found = _check(url, part, sha256)
    if not sha256:
        keep_sum(target, found)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    _about(part).unlink(missing_ok=True)
    sync_folder(target.parent)


def check_reachable(url: str) -> None:
    """Asks a server for anything at all. Raises: CheckpointError if none answers within the time limit."""
    seconds = _timeout(FIRST_TIMEOUT)
    try:
        _opened(urllib.request.Request(url, method="HEAD"), seconds).close()
    except urllib.error.HTTPError as error:
        error.close()  # there is one
    except (OSError, http.client.HTTPException) as error:
        raise CheckpointError(f"{url}: cannot be reached ({_reason(error, seconds)})") from None


def mirrored(url: str) -> str:
    """Returns the address that is asked instead of a published one. Raises: CheckpointError for a wrong mirror."""
    mirror = os.environ.get("WEIGHTS_MIRROR", "").rstrip("/")
    if mirror and not mirror.startswith(("http://", "https://")):
        raise CheckpointError(f"WEIGHTS_MIRROR={mirror}: give an address that begins with http:// or https://")
    return f"{mirror}/{url.partition('://')[2]}" if mirror else url


def _transfer(url: str, part: Path, *, known: bool, report: Report, first: bool) -> None:
    """Receives the file, or what is missing of it. known: its hash will tell whether the parts belong together."""
    version = _read_version(part)
    start = _size(part) if version or known else 0
    headers = {"User-Agent": "pytorch-video-analysis", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version:
            headers["If-Range"] = version
    with _answer(urllib.request.Request(url, headers=headers), url, first=first) as answer:
        if answer is None:  # the server has nothing behind what is here: it is whole, or too long
            if not known or _size(part) == 0:
                part.unlink(missing_ok=True)
                raise _BrokenError("the server refuses to go on after what has come")
            return
        start, total = _place(answer, start, url)
        if not total and not known:
            raise CheckpointError(f"{url}: the server does not say how long the file is, and no hash is known")
        if total and shutil.disk_usage(part.parent).free < total - start:
            raise CheckpointError(f"{part.parent}: has no room for the {_mb(total - start)} of {url}")
        found = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        _about(part).write_text(json.dumps({"version": "" if found.startswith("W/") else found}), encoding="utf-8")
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            _receive(answer, file, start, total, report)


def _receive(answer: HTTPResponse, file: IO[bytes], done: int, total: int, report: Report) -> None:
    while True:
        try:
            piece = answer.read1(PIECE)
        except TimeoutError:
            raise _BrokenError(f"the server has been silent for {_timeout():g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"the connection broke off ({_reason(error)})") from None
        if not piece:
            break
        file.write(piece)
        done += len(piece)
        report(done, total)
    if total and done < total:
        raise _BrokenError(f"the server ended after {_mb(done)} of {_mb(total)}")


def _place(answer: HTTPResponse, start: int, url: str) -> tuple[int, int]:
    """Returns where in the file the answer begins, and the length of the whole file, 0 if unknown."""
    kind = answer.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise CheckpointError(f"{url}: answers with a page instead of the file; open it in a browser to see why")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise CheckpointError(f"{url}: answers with a file packed as {answer.headers['Content-Encoding']}")
    try:
        length = int(answer.headers.get("Content-Length", 0))
        if answer.status != http.client.PARTIAL_CONTENT:
            return 0, max(length, 0)
        begins, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if int(begins.partition("-")[0]) == start:
            return start, int(whole)
    except ValueError:
        pass
    raise CheckpointError(f"{url}: the server's answer contradicts itself about the length of the file")


@contextlib.contextmanager
def _answer(request: urllib.request.Request, url: str, *, first: bool) -> Iterator[HTTPResponse | None]:
    """Yields the server's answer, None if the part asked for does not exist.

    Raises: CheckpointError if there is no server or no such file; _BrokenError where another try makes sense.
    """
    try:
        answer = _opened(request, _timeout())
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                yield None
                return
            if error.code >= http.client.INTERNAL_SERVER_ERROR and not first:
                raise _BrokenError(f"the server answers {error.code} {error.reason}") from None
            raise CheckpointError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        if not first:
            raise _BrokenError(f"the server cannot be reached any more ({_reason(error)})") from None
        raise CheckpointError(f"{url}: cannot be reached ({_reason(error)})") from None
    with answer:
        yield answer


def _opened(request: urllib.request.Request, seconds: float) -> HTTPResponse:
    """Opens the address in a thread, because the search for a host's address has no time limit of its own."""
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()

    def ask() -> None:
        try:
            result: Any = urllib.request.build_opener(_SafeRedirects).open(request, timeout=seconds)
        except Exception as error:
            result = error
        if given_up.is_set() and hasattr(result, "close"):
            result.close()
        results.put(result)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        given_up.set()
        raise TimeoutError from None
    if isinstance(result, BaseException):
        raise result
    answer: HTTPResponse = result
    return answer


def _check(url: str, part: Path, sha256: str) -> str:
    """Returns the SHA-256 of what came.

    Raises: CheckpointError for a file that is not the published one, which is set aside.
    """
    found = sha256_of(part)
    if sha256:
        wrong = "" if found.startswith(sha256) else f"its SHA-256 begins with {found[: len(sha256)]}, not {sha256}"
    else:
        with part.open("rb") as file:
            head = file.read(2)
        cut_off = head == b"PK" and not zipfile.is_zipfile(part)
        wrong = "it is cut off" if cut_off else "it is no file of weights" if head[:1] in (b"<", b"") else ""
    if wrong:
        aside = part.with_name(f"{part.name.removesuffix('.part')}.wrong-{found[:8]}")
        part.replace(aside)
        _about(part).unlink(missing_ok=True)
        raise CheckpointError(f"{url}: is not the published file: {wrong}; what came is kept as {aside}")
    return found


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_version(part: Path) -> str:
    """Returns the mark by which the server knows the version of the file that a part is of; "" if unknown."""
    try:
        about = json.loads(_about(part).read_text(encoding="utf-8"))
        return str(about["version"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _timeout(default: float = TIMEOUT) -> float:
    text = os.environ.get("WEIGHTS_TIMEOUT") or str(default)
    seconds = above_zero(text)
    if seconds is None:
        raise CheckpointError(f"WEIGHTS_TIMEOUT={text}: give a number of seconds above 0")
    return seconds


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: BaseException, seconds: float | None = None) -> str:
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, TimeoutError):
        return f"no answer within {seconds or _timeout():g} s"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


def _mb(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number} bytes"
