"""Asks servers for files through fsspec: what a file is, parts of it, and names in a folder. Nothing waits endlessly.

What may pass (silence, broken connections, 429, 5xx, too few bytes) is tried again until DATA_TIMEOUT seconds are over,
60 by default. Credentials and other settings of file systems are fsspec's: its files and variables, and those of the
packages that it uses.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from datasets.places.place import Address, digest
from datasets.places.settings import number_from
from utils.errors import ConfigError, FrameError

Result = TypeVar("Result")
WHOLE = 64 << 20  # bytes of a file that is fetched whole from a server that gives no parts
_QUIET = 60.0  # seconds after a message about another try
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_TRIES = 3  # that fit into the time at least
_PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_PACKAGES |= {"hf": "huggingface_hub", **dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs")}
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError)
# what tells versions of a file apart, the best first; a listing has the same best one as a question about the file
_MARKS_OF_HTTP = ("ETag", "Content-MD5", "Last-Modified")
_MARKS = ("ETag", "etag", "generation", "blob_id", "Content-MD5", "Last-Modified", "LastModified", "mtime", "created")
_FIRST_TO_TRY_AGAIN = 500  # of the statuses of HTTP
_ALSO_TRIED_AGAIN = (408, 425, 429)
_DENIED = (401, 403)


class NoPartsError(Exception):
    """A server's answer with a whole file where a part was asked for."""


@dataclass(frozen=True)
class About:
    """Describes a file at an address.

    size: in bytes.
    version: of its contents, as far as the server says it; another one means that the file has changed.
    parts: False if the server says that it gives only whole files.
    """

    size: int
    version: str
    parts: bool = True


_log = logging.getLogger(__name__)
_known: dict[str, About] = {}
_said = -_QUIET


def about(address: str, *, fresh: bool = False, deadline: float | None = None) -> About:
    """Returns what a file is; the server is asked once in a process. fresh: asks it again. deadline: as in `fetch`.

    Raises: FrameError, naming the address, if it is missing or may not be read, or if nothing answers in time.
    """
    if fresh or address not in _known:
        found = _persistent(address, partial(_ask, address), deadline)
        if fresh:
            return found
        _known[address] = found
    return _known[address]


def fetch(address: str, known: About, start: int, stop: int, deadline: float | None = None) -> bytes:
    """Returns bytes of a file of which `known` is known.

    deadline: of time.monotonic(), when it gives up; by default DATA_TIMEOUT from now.

    Raises: FrameError, naming the address; NoPartsError if the server turns out to give only whole files.
    """
    if not known.parts and known.size > WHOLE:
        raise FrameError(
            f"{address}: its server gives no parts of files, and its {known.size >> 20} MB are too many to be "
            "fetched at once; put it on a server that answers range requests, or copy it to a disk"
        )
    data = _persistent(address, partial(_range, address, known, start, stop), deadline)
    whole = start == 0 and stop == known.size
    if not (whole or _is_http(address)) and about(address, fresh=True, deadline=deadline).version != known.version:
        raise _changed(address, known, known.size)
    return data


def names(folder: Address) -> dict[str, About | None]:
    """Returns the names of what lies in a folder, with what the listing says of the files.

    Raises: FrameError, naming the address.
    """

    def ask(system: Any, seconds: float) -> dict[str, About | None]:
        found: dict[str, About | None] = {}
        for entry in _call(system, "ls", seconds, str(folder), detail=True):
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            known = entry.get("type") == "file" and entry.get("size") is not None and not _is_http(folder)
            found[name] = _about(folder / name, entry) if known else None
        return found

    return _persistent(folder, ask)


def remember(address: str, known: About) -> None:
    """Keeps what a listing says of a file for `about`."""
    _known[address] = known


def _about(address: str, info: dict[str, Any]) -> About:
    if info.get("type") == "directory":
        raise IsADirectoryError
    if info.get("size") is None:
        raise ValueError("its server does not say how long it is")
    size = int(info["size"])
    mark = next((f"{name}={info[name]}" for name in _MARKS if info.get(name) is not None), "")
    return About(size, digest(str(size), mark), bool(info.get("partial", True)))


def _ask(address: str, system: Any, seconds: float) -> About:
    return _about(address, _info(system, address, seconds))


def _info(system: Any, address: str, seconds: float) -> dict[str, Any]:
    try:
        info: dict[str, Any] = _call(system, "info", seconds, address)
    except FileNotFoundError as error:
        # HTTP's file system says this of every failure, and names the true one as its cause
        if isinstance(error.__cause__, Exception) and getattr(error.__cause__, "status", 0) != 404:
            raise error.__cause__ from None
        raise
    return info


def _range(address: str, known: About, start: int, stop: int, system: Any, seconds: float) -> bytes:
    """Returns a part of the file; at its end one byte more is asked for, so that a longer file is noticed."""
    past = stop + (stop == known.size)
    if _is_http(address):
        data = _sync(system, _get, seconds, system, address, known, start, past)
    else:
        data = _call(system, "cat_file", seconds, address, start=start, end=past)
    if len(data) > stop - start:
        raise _changed(address, known, len(data) - (stop - start) + known.size)
    if len(data) < stop - start:
        raise OSError(f"only {len(data)} of {stop - start} bytes have come")
    return bytes(data)


async def _get(system: Any, address: str, known: About, start: int, past: int) -> bytes:
    """Asks an HTTP server for a part, and compares what its answer says: fsspec takes any answer for the right one."""
    given = dict(system.kwargs)
    headers = {**given.pop("headers", {}), "Range": f"bytes={start}-{past - 1}", "Accept-Encoding": "identity"}
    session = await system.set_session()
    async with session.get(system.encode_url(address), headers=headers, **given) as answer:
        answer.raise_for_status()
        size: int | None = answer.content_length
        if answer.status == http.client.PARTIAL_CONTENT:
            span, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if span.partition("-")[0] != str(start):
                raise OSError(f"it sends bytes {span or '?'} instead of {start}-{past - 1}")
            size = int(whole) if whole.isdigit() else None
        elif start or past <= known.size:
            raise NoPartsError
        size = known.size if size is None else size
        marks = {mark: answer.headers.get(mark) for mark in _MARKS_OF_HTTP}  # whatever their case
        if _about(address, {**marks, "size": size}).version != known.version:
            raise _changed(address, known, size)
        return bytes(await answer.read())


def _changed(address: str, known: About, size: int) -> FrameError:
    if size != known.size:
        return FrameError(
            f"{address}: is {size} bytes long and not {known.size}, as its server has said; was it changed?"
        )
    return FrameError(f"{address}: has changed while it was read; start the run again")


def _persistent(address: str, ask: Callable[[Any, float], Result], deadline: float | None = None) -> Result:
    """Asks until there is an answer, but not longer than DATA_TIMEOUT or the deadline. Raises: FrameError."""
    system, limit = _system(address), number_from("DATA_TIMEOUT")
    end, pause = time.monotonic() + limit if deadline is None else deadline, _FIRST_PAUSE
    while True:
        try:
            return ask(system, max(min(end - time.monotonic(), limit / _TRIES), 0.01))
        except (FrameError, NoPartsError):
            raise
        except Exception as error:  # each file system has its own
            if why := _final(error):
                raise FrameError(f"{address}: {why}") from None
            wait = max(pause, _asked_to_wait(error)) * (1 + random.random())
            if time.monotonic() + wait > end:
                raise FrameError(f"{address}: no answer of use within {limit:g} s ({_in_words(error)})") from None
            _say(f"{address}: {_in_words(error)}; trying again")
        time.sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _say(message: str) -> None:
    """Logs a message unless one was logged a moment ago: a store that limits requests would fill the log."""
    global _said
    if time.monotonic() - _said > _QUIET:
        _said = time.monotonic()
        _log.warning("%s", message)


def _final(error: Exception) -> str:
    """Returns why an error will not go away; "" if another try makes sense."""
    status = getattr(error, "status", 0)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if status in _DENIED or isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return f"access is denied ({_in_words(error)}); give credentials as fsspec and its packages take them"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    if isinstance(error, _PERMANENT):
        return _in_words(error)
    return _in_words(error) if 400 <= status < _FIRST_TO_TRY_AGAIN and status not in _ALSO_TRIED_AGAIN else ""


def _in_words(error: Exception) -> str:
    if (status := getattr(error, "status", 0)) >= 400:
        return f"the server answers {status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, TimeoutError) or type(error).__name__ == "FSTimeoutError":
        return "the server is silent"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _asked_to_wait(error: Exception) -> float:
    """Returns the seconds that a server's Retry-After asks for, up to a limit."""
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return min(float((getattr(error, "headers", None) or {}).get("Retry-After", 0)), _LONGEST_PAUSE)
    return 0.0


def _system(address: str) -> Any:
    """Returns the file system of an address in this process. Raises: ConfigError if a package is missing."""
    protocol = address.partition("://")[0].lower()
    try:
        fsspec = importlib.import_module("fsspec")
        settings: dict[str, Any] = {}
        if _is_http(address):  # proxies from the environment, as everywhere here
            given = dict(importlib.import_module("fsspec.config").conf.get(protocol, {}))
            settings["client_kwargs"] = {"trust_env": True, **given.get("client_kwargs", {})}
        elif protocol != "memory":
            settings["use_listings_cache"] = False
        return fsspec.filesystem(protocol, **settings)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "fsspec")
        package = "fsspec" if getattr(error, "name", None) == "fsspec" else package
        raise ConfigError(f"{address}: reading it needs {package}: pip install {package}") from None
    except ValueError as error:
        raise ConfigError(f"{address}: {error}") from None


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _call(system: Any, method: str, seconds: float, *args: Any, **given: Any) -> Any:
    """Calls a method of a file system with a limit of time."""
    if system.async_impl:
        return _sync(system, getattr(system, f"_{method}"), seconds, *args, **given)
    if system.protocol == "memory":
        return getattr(system, method)(*args, **given)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            results.put(getattr(system, method)(*args, **given))
        except Exception as error:
            results.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


def _sync(system: Any, coroutine: Callable[..., Any], seconds: float, *args: Any, **given: Any) -> Any:
    sync = importlib.import_module("fsspec.asyn").sync
    return sync(system.loop, coroutine, *args, timeout=seconds, **given)
