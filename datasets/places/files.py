"""Opens and reads files wherever they lie: on a disk, at an address or in a tar. Plain files cost nothing extra."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from datasets.places import remote
from datasets.places.blocks import BLOCK, RemoteFile
from datasets.places.place import Address, Place, default_cache_folder, digest, is_address, place
from datasets.places.tars import TarIndex, open_index, split_member
from utils.errors import FrameError
from utils.files import atomic_write

_QUESTIONS = 16  # to a server at the same time
_OPEN_TARS = 64
_WORTH_LISTING = 8  # files of one folder


class Source(Protocol):
    """Has bytes that can be read from anywhere. name: for messages. size: in bytes."""

    name: str
    size: int

    def read_at(self, offset: int, count: int, extent: tuple[int, int] | None = None) -> bytes:
        """Returns up to `count` bytes from `offset` on; fewer only at the end."""
        ...


class LocalFile:
    """Reads parts of a file on a disk. Forked processes may share it: it has no position."""

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise FrameError(f"{path}: {_why(error)}") from None
        self.size = os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, count: int, extent: tuple[int, int] | None = None) -> bytes:
        """Returns up to `count` bytes from `offset` on. Raises: FrameError."""
        try:
            return os.pread(self._descriptor, count, offset)
        except OSError as error:
            raise FrameError(f"{self.name}: {_why(error)}") from None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class Stream(io.RawIOBase):
    """Shows a part of a source as a file object, for libraries that take one.

    error: why a read failed; such libraries may take that for the end of the file.
    """

    def __init__(self, source: Source, start: int, stop: int, name: str) -> None:
        super().__init__()
        self._source, self._start, self._stop, self._at = source, start, stop, 0
        self.name, self.size = name, stop - start
        self.error: FrameError | None = None

    def read(self, count: int = -1) -> bytes:
        """Returns up to `count` bytes, all that are left for -1."""
        left = max(self.size - self._at, 0)
        take = left if count is None or count < 0 else min(count, left)
        try:
            data = self._source.read_at(self._start + self._at, take, (self._start, self._stop)) if take else b""
            if len(data) < take:
                raise FrameError(f"{self.name}: ends early; was it changed while it was read?")
        except FrameError as error:
            self.error = error
            raise
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer; returns how many bytes have come."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, and returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: no position before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Returns the position."""
        return self._at

    def readable(self) -> bool:
        """Returns True: every stream can be read."""
        return True

    def seekable(self) -> bool:
        """Returns True: every stream can be read from any position."""
        return True


def is_plain(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is one of the file system, and leads into no tar."""
    text = os.fspath(path)
    if "://" in text:
        return not is_address(text)
    return split_member(text) is None


def open_file(path: str | os.PathLike[str]) -> Stream:
    """Opens a file at an address or in a tar, which is itself at an address or on a disk. Raises: FrameError."""
    text = os.fspath(path)
    source, start, stop = _extent(text)
    return Stream(source, start, stop, text)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Returns the contents of a file at an address or in a tar. Raises: FrameError."""
    return open_file(path).read()


def read_all(paths: Sequence[str]) -> list[bytes]:
    """Returns the contents of several such files, several at a time. Raises: FrameError of the first that fails."""
    if len(paths) < 2 or not any(map(is_address, paths)):
        return [read_bytes(path) for path in paths]
    with ThreadPoolExecutor(min(len(paths), _QUESTIONS)) as pool:
        return list(pool.map(read_bytes, paths))


def bring(paths: Iterable[str]) -> None:
    """Begins to fetch files that will be read soon, as far as they are small, and does not wait for them."""
    for path in paths:
        if is_address(path):
            try:
                source, start, stop = _extent(path)
            except FrameError:
                continue  # whoever reads it gets the reason
            if isinstance(source, RemoteFile) and stop - start <= remote.WHOLE // 8:
                source.bring(start, stop)


def open_tar(path: str | os.PathLike[str]) -> TarIndex:
    """Returns what is in a tar on a disk or at an address. Raises: FrameError."""
    text = os.fspath(path)
    source = _source(text, _version(text))
    return open_index(text, _version(text), Stream(source, 0, source.size, text), source.size)


def member_extent(path: str | os.PathLike[str]) -> tuple[str, int, int, int] | None:
    """Returns the tar that a path leads into, its bytes, and from where to where the member lies in it.

    None for other paths. Raises: FrameError.
    """
    parts = split_member(os.fspath(path))
    if parts is None:
        return None
    source, start, stop = _extent(os.fspath(path))
    return parts[0], source.size, start, stop


def exists(path: str | os.PathLike[str]) -> bool:
    """Returns whether there is such a file, wherever it lies. Raises: FrameError if that cannot be found out."""
    text = os.fspath(path)
    if is_plain(text):
        return Path(text).is_file()
    try:
        _extent(text)
    except FrameError as error:
        if str(error).endswith((_NOT_THERE, _NOT_IN_TAR)):
            return False
        raise
    return True


def size_of(path: Place) -> int:
    """Returns the bytes that a plain file or one at an address has; -1 if there is no such file. Raises: FrameError."""
    if not exists(path):
        return -1
    return remote.about(path).size if isinstance(path, Address) else path.stat().st_size


def list_names(folder: Place) -> list[str]:
    """Returns the names of what lies in a folder. Raises: OSError for one on a disk, FrameError at an address."""
    return list(remote.names(folder)) if isinstance(folder, Address) else os.listdir(folder)  # noqa: PTH208


def versioned(paths: Sequence[str]) -> list[str]:
    """Returns the paths as caches name them: a path at an address or in a tar gets the file's version appended.

    The version is another one at each call for a file that the server says nothing about: it may be there later.
    """
    found = [path for path in paths if not is_plain(path)]
    if not found:
        return list(paths)
    holders = {(split_member(path) or (path,))[0] for path in found}
    _ask_about([holder for holder in holders if is_address(holder)])

    def version(path: str) -> str:
        try:
            _, start, stop = _extent(path)
            return f"{_version((split_member(path) or (path,))[0])}-{start}-{stop}"
        except FrameError:
            return f"{_UNKNOWN}{time.time_ns()}"

    marked = {path: f"{path}{_MARK}{version(path)}" for path in found}
    return [marked.get(path, path) for path in paths]


def has_version(path: str) -> bool:
    """Returns whether `versioned` has put a version behind a path."""
    return _MARK in path


def size_and_version(path: str) -> tuple[int, str]:
    """Returns how many bytes a file has, and its version, or that of its tar, which `versioned` has put behind it.

    They are -1 and "" for a file of which nothing is known.
    """
    version = path.partition(_MARK)[2]
    if version.startswith(_UNKNOWN):
        return -1, ""
    mark, start, stop = version.rsplit("-", 2)
    return int(stop) - int(start), mark


def without_version(path: str | os.PathLike[str]) -> Place:
    """Returns the place of a file without the version that `versioned` has appended."""
    return place(os.fspath(path).partition(_MARK)[0])


def local_copy(path: Place) -> Path:
    """Returns a path on this machine's disk with the contents of a file; for one at an address a copy in the cache.

    Raises: FrameError.
    """
    if not isinstance(path, Address):
        return path
    copy = default_cache_folder() / "copies" / digest(path, remote.about(path).version) / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(copy) as file:
            shutil.copyfileobj(open_file(path), file, BLOCK)
    return copy


_MARK = "\x1fversion="  # behind a path
_UNKNOWN = "unknown-"  # begins the version of a file that cannot be looked at
_NOT_THERE = ": no such file"
_NOT_IN_TAR = ": is not in the tar"


def _ask_about(addresses: Sequence[str]) -> None:
    """Asks for sizes and versions, of many files in a folder by a listing and otherwise several at a time."""
    folders: dict[Address, list[str]] = {}
    for address in addresses:
        folders.setdefault(Address(address).parent, []).append(address)

    def ask(address: str) -> None:
        with contextlib.suppress(FrameError):  # whoever reads it gets the reason
            remote.about(address)

    left: list[str] = []
    for folder, wanted in folders.items():
        listed: dict[str, remote.About | None] = {}
        if len(wanted) >= _WORTH_LISTING and not folder.startswith("http"):
            try:
                listed = remote.names(folder)
            except FrameError:
                listed = {}
        for address in wanted:
            if (known := listed.get(Address(address).name)) is not None:
                remote.remember(address, known)
            else:
                left.append(address)
    with ThreadPoolExecutor(_QUESTIONS) as pool:
        list(pool.map(ask, left))


def _extent(path: str) -> tuple[Source, int, int]:
    """Returns where the bytes of a file are: source, start and end."""
    parts = split_member(path)
    if parts is None:
        source = _source(path, _version(path))
        if not source.size:
            raise FrameError(f"{path}: the file is empty (0 bytes)")
        return source, 0, source.size
    tar, member = parts
    found = open_tar(tar).find(member)
    if found is None:
        raise FrameError(f"{path}{_NOT_IN_TAR}")
    if found[0] == found[1]:
        raise FrameError(f"{path}: the file is empty (0 bytes)")
    return _source(tar, _version(tar)), *found


def _version(path: str) -> str:
    if is_address(path):
        return remote.about(path).version
    try:
        status = os.stat(path)  # noqa: PTH116 - once per sample
    except OSError as error:
        raise FrameError(f"{path}: {_why(error)}") from None
    return f"{status.st_size} {status.st_mtime_ns}"


@lru_cache(_OPEN_TARS)
def _source(path: str, version: str) -> Source:
    return RemoteFile(path) if is_address(path) else LocalFile(path)


def _why(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
