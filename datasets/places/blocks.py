"""Keeps blocks of remote files on the local disk, all processes together, and removes what was used longest ago.

A block is a file of its own, whole or absent, in a folder named after the file's address and version: what has changed
has other blocks. Readers and writers need no lock; only one process at a time removes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

from datasets.places.place import digest
from datasets.places.remote import NoPartsError, about, fetch
from datasets.places.settings import block_folder, number_from
from utils.errors import FrameError
from utils.system import lock

BLOCK = 1 << 20  # bytes
AT_ONCE = 8  # blocks: what is this small is fetched whole, and so much is read ahead
_STEP = 2  # blocks from one read to the next that is taken for reading on
_AGE = 60.0  # seconds after which a block's time of use is renewed
_KEEP = 0.9  # of the limit, after some were removed
_LOOKS = 32  # times that the cache is measured while it fills once
_AHEAD = 16  # requests of a process that nobody waits for
_log = logging.getLogger(__name__)
_brought = 0  # bytes that this process has written since it measured the cache
_complained = False
_lock = threading.Lock()
_places = threading.Semaphore(_AHEAD)
_coming: dict[tuple[str, int], threading.Event] = {}  # blocks that a thread of this process is fetching


def _forget() -> None:
    """Forgets all transfers in a forked process, which has none of the threads that made them."""
    global _lock, _places
    _lock, _places = threading.Lock(), threading.Semaphore(_AHEAD)
    _coming.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class RemoteFile:
    """Reads parts of the file at an address, through the cache. Several threads may use it.

    Raises: FrameError, naming the address.
    """

    def __init__(self, address: str) -> None:
        self.name, self._about = address, about(address)
        self.size = self._about.size
        self._folder = block_folder() / digest(address, self._about.version)
        self._last = -_STEP - 1  # block that was read last
        self._fetched: dict[int, bytes] = {}  # where the disk takes no blocks

    def read_at(self, offset: int, count: int, extent: tuple[int, int] | None = None) -> bytes:
        """Returns up to `count` bytes from `offset` on. extent: from where to where the reader will read, if known."""
        pieces, stop = [], min(offset + count, self.size)
        while offset < stop:
            number, inside = divmod(offset, BLOCK)
            take = min(BLOCK - inside, stop - offset)
            pieces.append(self._part(number, inside, take, extent or (0, self.size)))
            offset += take
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def bring(self, start: int, stop: int) -> None:
        """Begins to fetch what is missing of a part, and does not wait for it. What fails is read again later."""
        self._ahead(start // BLOCK, -(-min(stop, self.size) // BLOCK))

    def _part(self, number: int, inside: int, take: int, extent: tuple[int, int]) -> bytes:
        first, end = extent[0] // BLOCK, -(-extent[1] // BLOCK)
        small, steady = end - first <= AT_ONCE, 0 < number - self._last <= _STEP
        data = self._cached(number, inside, take)
        if data is None:
            deadline = time.monotonic() + number_from("DATA_TIMEOUT")  # for waiting and asking together
            data = self._waited_for(number, inside, take)
        if data is None:
            wanted = (first, end) if small else (number, min(number + (AT_ONCE if steady else 1), end))
            data = self._fetch(number, *wanted, deadline)[inside : inside + take]
        if steady and not small:
            self._ahead(number + 1, min(number + 1 + AT_ONCE, end))
        self._last = number
        return data

    def _cached(self, number: int, inside: int, take: int) -> bytes | None:
        """Returns a part of a block from the disk; None if it is not there."""
        if (kept := self._fetched.get(number)) is not None:
            return kept[inside : inside + take]
        try:
            handle = os.open(f"{self._folder}/{number}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if time.time() - os.fstat(handle).st_mtime > _AGE:
                os.utime(handle)
            data = os.pread(handle, take, inside)
            return data if len(data) == take else None  # a power cut may have shortened it
        except OSError:
            return None
        finally:
            os.close(handle)

    def _waited_for(self, number: int, inside: int, take: int) -> bytes | None:
        """Returns a part of a block that is on its way; None if none is, or if it failed.

        It waits half of the time at most, and leaves the other half for a request.
        """
        event = _coming.get((str(self._folder), number))
        if event is None or not event.wait(number_from("DATA_TIMEOUT") / 2):
            return None
        return self._cached(number, inside, take)

    def _ahead(self, first: int, end: int) -> None:
        """Fetches what is missing of these blocks in a thread, once enough are missing for a request of their own."""
        missing = [number for number in range(first, end) if not self._is_here(number)]
        if not missing or (len(missing) < AT_ONCE // 2 and missing[-1] + 1 == end < -(-self.size // BLOCK)):
            return
        first, end = missing[0], missing[-1] + 1
        event, folder = threading.Event(), str(self._folder)
        with _lock:
            if any((folder, number) in _coming for number in range(first, end)):
                return
            _coming.update({(folder, number): event for number in range(first, end)})

        def work() -> None:
            try:
                with _places:
                    self._fetch(first, first, end)
            except FrameError as error:
                _log.debug("reading ahead: %s", error)  # whoever needs the block tries again and says why it fails
            finally:
                with _lock:
                    for number in range(first, end):
                        _coming.pop((folder, number), None)
                event.set()

        threading.Thread(target=work, daemon=True).start()

    def _is_here(self, number: int) -> bool:
        return number in self._fetched or os.path.exists(f"{self._folder}/{number}")  # noqa: PTH110 - often

    def _fetch(self, wanted: int, first: int, end: int, deadline: float | None = None) -> bytes:
        """Fetches blocks in one request, without those at both ends that are here; returns the one that is wanted.

        deadline: of time.monotonic(); by default DATA_TIMEOUT from now.
        """
        deadline = time.monotonic() + number_from("DATA_TIMEOUT") if deadline is None else deadline
        while first < wanted and self._is_here(first):
            first += 1
        while end - 1 > wanted and self._is_here(end - 1):
            end -= 1
        if not self._about.parts:
            first, end = 0, -(-self.size // BLOCK)
        start = first * BLOCK
        try:
            data = fetch(self.name, self._about, start, min(end * BLOCK, self.size), deadline)
        except NoPartsError:
            self._about = replace(self._about, parts=False)
            return self._fetch(wanted, first, end, deadline)
        for number in range(first, end):
            self._put(number, data[number * BLOCK - start : (number + 1) * BLOCK - start])
        return data[wanted * BLOCK - start : (wanted + 1) * BLOCK - start]

    def _put(self, number: int, data: bytes) -> None:
        global _brought, _complained
        try:
            _write(self._folder / str(number), data)
        except OSError as error:
            if not _complained:
                _complained = True
                _log.warning(
                    "%s: cannot keep what was fetched (%s), so it is fetched again; set DATA_CACHE to another folder",
                    block_folder(),
                    error.strerror,
                )
            self._fetched = {**dict(list(self._fetched.items())[-AT_ONCE:]), number: data}
            return
        _brought += len(data)
        limit = number_from("DATA_CACHE_GB") * 1e9
        if _brought > limit / _LOOKS:
            _brought = 0
            shrink(block_folder(), limit)


def _write(path: Path, data: bytes) -> None:
    """Writes a block whole or not at all, but does not wait until the disk has it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        part.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)


def shrink(folder: Path, limit: float) -> None:
    """Removes the blocks that were used longest ago, once a cache is larger than `limit` bytes."""
    with (folder / "lock").open("a") as file:
        if not lock(file):  # another process is at it
            return
        blocks: list[tuple[float, int, str]] = []
        for entry in os.scandir(folder):
            if entry.is_dir():
                for block in os.scandir(entry.path):
                    try:
                        status = block.stat()
                    except FileNotFoundError:
                        continue
                    blocks.append((status.st_mtime, status.st_size, block.path))
        size = sum(block[1] for block in blocks)
        if size <= limit:
            return
        for _, length, path in sorted(blocks):
            Path(path).unlink(missing_ok=True)
            size -= length
            if size <= limit * _KEEP:
                break
        for entry in os.scandir(folder):
            if entry.is_dir():
                with contextlib.suppress(OSError):  # it has blocks
                    Path(entry.path).rmdir()
