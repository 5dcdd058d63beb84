"""Records a dump in `manifest.jsonl` next to the frames: how they were made, and one line per video.

The file grows by whole lines, so it can be read at any moment of a run and after a kill; if a power cut tears the last
line, it is dropped. A finished run rewrites the file in sorted order, without the lines that later ones replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError
from utils.files import atomic_write

MANIFEST = "manifest.jsonl"
FORMAT = 1
_MOST = 1 << 31  # frames, in all or per second


class Manifest:
    """Reads and writes the record of a dump into `folder`.

    header: the tool, its version and its settings, as last written.
    videos: folder of a video, relative to the dataset (such as "frames/class/video") -> its last line: status
        ("started", "ok", "partial" or "failed"), settings, frames (files in the folder), begins (see `Dumped`), source,
        errors ...
    """

    def __init__(self, folder: Path, name: str = MANIFEST) -> None:
        self.path = folder / name
        self.header: dict[str, Any] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        self._file: Any = None
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        self._torn = 0
        for entry in _entries(self.path):
            if isinstance(entry, bytes):
                self._torn = len(entry)
            elif entry["kind"] == "header":
                self.header = entry
            else:
                self.videos[entry["video"]] = entry

    def open(self, header: Mapping[str, Any]) -> None:
        """Begins a run: appends its header and keeps the file open for `add`."""
        size = self.path.stat().st_size if self.path.exists() else 0
        self._file = self.path.open("ab")
        if size and self._torn:
            self._file.truncate(size - self._torn)
        self.header = {"kind": "header", "format": FORMAT, **header}
        self._write(self.header)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Appends the line of one video, which replaces its earlier line."""
        entry = {"kind": "video", **entry}
        self.videos[entry["video"]] = entry
        self._write(entry)

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if entry.get("status") == "started":
            # before the folder appears: a folder that the manifest does not know must not be replaced
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Rewrites the file without replaced lines, with the videos in sorted order."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        with atomic_write(self.path) as file:
            for entry in (self.header, *(self.videos[video] for video in sorted(self.videos))):
                file.write(json.dumps(entry).encode() + b"\n")

    def abandon(self) -> None:
        """Closes the file as it is, after an interruption."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


class Dumped(NamedTuple):
    """Holds what a manifest knows of the folder of one video.

    path: below the folder that was asked about.
    frames: how many there are.
    fps: frames per second, a mean where they are not equally long; 0 where the manifest has no rate.
    begins: seconds at which the first frame is shown, from the start of the file, sound included, or of the part that
        was dumped; 0 where the manifest does not say it, as those of older versions.
    """

    path: str
    frames: int
    fps: float
    begins: float


def dumped_below(root: Path) -> Iterator[Dumped]:
    """Yields the videos that a dump has tried to write.

    It reads the manifest in `root` or in the folder above it, one line at a time; of several lines of one video the
    last one holds. Without a manifest nothing is yielded. Raises UserError for a damaged one.
    """
    folder = next((one for one in (root, root.parent) if (one / MANIFEST).is_file()), None)
    if folder is None:
        return
    prefix = "" if folder == root else f"{root.name}/"
    for entry in _entries(folder / MANIFEST):
        if isinstance(entry, bytes) or "frames" not in entry or not entry["video"].startswith(prefix):
            continue
        try:
            settings = entry.get("settings") or {}
            fps = float(settings.get("fps") or entry.get("source_fps") or 0) / int(settings.get("every") or 1)
            frames, begins = int(entry["frames"]), float(entry.get("begins") or 0)
            if not (0 <= fps < _MOST and 0 <= frames < _MOST and 0 <= begins < _MOST):
                raise ValueError(f"{frames} frames at {fps:g} per second from {begins:g} s on")
        except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
            damaged = f"its line of {entry['video']!r} is damaged ({error}); restore or remove it"
            raise UserError(f"{folder / MANIFEST}: {damaged}") from error
        yield Dumped(entry["video"].removeprefix(prefix), frames, fps, begins)


def _entries(path: Path) -> Iterator[dict[str, Any] | bytes]:
    """Yields the lines of a manifest; a last one that was torn off as its bytes. Raises UserError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                yield line
                return
            try:
                entry = json.loads(line)
                _ = entry["video"].encode() if entry["kind"] != "header" else entry["format"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(
                    f"{path}:{number}: is not a line of a manifest ({error}); restore or remove it"
                ) from error
            if entry["kind"] == "header" and entry["format"] != FORMAT:
                raise UserError(f"{path}: has format {entry['format']}, but this version reads format {FORMAT}")
            yield entry
