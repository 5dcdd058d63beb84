"""Writes files so that they are whole or absent, and walks through folders in the one way that all tools share.

A file is written under a temporary name, synced, then renamed over the old one.
"""

from __future__ import annotations

import contextlib
import os
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
    *(MemoryError, OverflowError),  # lengths that no file of this size has
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
    out: hidden ones, and the `._x.mp4` that macOS puts beside x.mp4.

    Raises UserError for a folder that cannot be read: what is in it must not be missing in silence.
    """
    yield from _walk(Path(root), frozenset())


def _walk(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, list[str], list[str]]]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            shown = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    folders = [name for name, is_folder in shown if is_folder]
    yield folder, folders, [name for name, is_folder in shown if not is_folder]
    for name in folders:
        yield from _walk(folder / name, above | {real})


def find_files(root: str | os.PathLike[str], suffixes: Collection[str]) -> Iterator[Path]:
    """Yields every file below `root` with one of these suffixes (in lower case), relative to it, as `walk` finds them.

    A broken link counts, so that reading it fails with its name; a pipe or socket does not.
    """
    for folder, _, names in walk(root):
        for name in names:
            path = folder / name
            if path.suffix.lower() in suffixes and (path.is_file() or not path.exists()):
                yield path.relative_to(root)
