"""Writes files so that they are whole or absent, and walks through folders in the one way that all tools share.

A file is written under a temporary name, synced, then renamed over the old one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent  # the project's folder
# errors that readers raise for a file that is cut off, or that is something else than expected
DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError, zipfile.BadZipFile),
    OverflowError,  # lengths that no file has
    struct.error,  # a number that is cut off
)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", **open_kwargs: Any) -> Iterator[IO[Any]]:
    """Opens a temporary file next to `path` for writing; on success syncs it and renames it to `path`.

    After an exception, or if the process is killed at any moment, `path` holds what it held before. `open_kwargs` go to
    `open` (encoding, newline). Text modes default to UTF-8.
    """
    path = Path(path)
    if "b" not in mode:
        open_kwargs.setdefault("encoding", "utf-8")
    # a part of the name, as a whole one may be as long as a file system takes
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    try:
        if hasattr(os, "fchmod"):  # mkstemp makes 0600, which colleagues on a shared disk cannot read
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(handle, 0o666 & ~umask)
        with open(handle, mode, **open_kwargs) as file:  # noqa: PTH123 - a descriptor, not a path
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Makes an empty folder beside `path` to be filled; on success it takes the place of `path`.

    After an exception, nothing is left of it. Folders above `path` are made. `path` itself may be there if it is empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp"))
    try:
        building.chmod(0o755)  # mkdtemp makes 0700, which colleagues on a shared disk cannot read
        yield building
        if path.exists():
            path.rmdir()
        building.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def no_pipe(path: str | os.PathLike[str]) -> Path:
    """Returns a path that can be opened. Raises: OSError for a named pipe, which is endless while nobody writes to it.

    What a shell makes of `<(command)` has a writer, and may be read.
    """
    path = Path(path)
    if path.is_fifo() and path.resolve().exists():  # those of a shell have no name in any folder
        raise OSError(errno.EINVAL, "it is a named pipe; give a file", str(path))
    return path


def check_place(path: str | os.PathLike[str], *, folder: bool = False) -> None:
    """Raises UserError if no file can be written there: for commands that compute long before they write.

    folder: whether it may be a folder, too.
    """
    path = Path(path)
    if path.is_dir() and not folder:
        raise UserError(f"{path}: is a folder; name a file")
    if not path.resolve().parent.is_dir():
        raise UserError(f"{path}: its folder does not exist; create it first")


def sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's contents, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Makes renames inside `folder` durable. Does nothing where folders cannot be opened (Windows) or synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def walk(root: str | os.PathLike[str]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields (folder, names of the folders in it, names of its files) for `root` and every folder below, sorted.

    Links are followed, except one that leads back to a folder which it lies in. Names that begin with a dot are left
    out: hidden ones, and the `._x.mp4` that macOS puts beside x.mp4. A broken link is a file, so that reading it fails
    with its name; pipes and sockets are left out.

    Raises UserError for a folder that cannot be read: what is in it must not be missing in silence.
    """
    yield from _walk(Path(root), frozenset())


def _walk(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, list[str], list[str]]]:
    real = os.path.realpath(folder)
    if real in above:
        return
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:  # which knows most kinds without another call to the system
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                target = Path(entry.path) if entry.is_symlink() else entry
                if target.is_dir():
                    folders.append(entry.name)
                elif target.is_file() or (isinstance(target, Path) and not target.exists()):
                    files.append(entry.name)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    yield folder, sorted(folders), sorted(files)
    for name in sorted(folders):
        yield from _walk(folder / name, above | {real})


def find_files(root: str | os.PathLike[str], suffixes: Collection[str]) -> Iterator[Path]:
    """Yields every file below `root` with one of these suffixes (in lower case), relative to it."""
    for folder, _, names in walk(root):
        below = folder.relative_to(root)
        yield from (below / name for name in names if os.path.splitext(name)[1].lower() in suffixes)  # noqa: PTH122
