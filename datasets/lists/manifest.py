"""Records a dump in `manifest.jsonl` next to the frames: how they were made, and one line per video.

The file grows by whole lines, so it can be read at any moment of a run and after a kill; if a power cut tears the last
line, it is dropped. A finished run rewrites the file in sorted order, without the lines that later ones replaced.

Where several machines share a dump, each writes a file of its own, such as `manifest.3-of-8.jsonl`. Readers take all
files as one, and the next run of a single machine joins them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError
from utils.files import atomic_write

MANIFEST = "manifest.jsonl"
FLOW_MANIFEST = "manifest_flow.jsonl"  # of tools/dump_flow.py, in the same folder
FORMAT = 1
_MOST = 1 << 31  # frames, in all or per second
_NOT_SETTINGS = ("kind", "format", "tool", "videos", "lists", "trade")  # of a header
Part = tuple[int, int]  # (number, of how many), the number from 0 on


def part_name(name: str, part: Part | None) -> str:
    """Returns what the file `name` is called for a part of a dump: manifest.jsonl becomes manifest.3-of-8.jsonl."""
    stem, ending = name.rsplit(".", 1)
    return name if part is None else f"{stem}.{part[0]}-of-{part[1]}.{ending}"


def parts_of(folder: Path, name: str = MANIFEST) -> dict[Part, Path]:
    """Returns the files of the parts of a dump that no later run has joined, in the order of their numbers."""
    stem, ending = (re.escape(piece) for piece in name.rsplit(".", 1))
    pattern, found = re.compile(rf"{stem}\.(\d+)-of-(\d+)\.{ending}"), {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := pattern.fullmatch(path.name):
            found[int(match[1]), int(match[2])] = path
    return dict(sorted(found.items()))


def header_of(path: Path) -> dict[str, Any]:
    """Returns the header of a manifest, {} if it is still to be written. Raises UserError.

    Of several, which a killed run of an older version has left, the last one holds.
    """
    found: dict[str, Any] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            # only headers, as manifests of a million videos take seconds
            if number == 1 or line.startswith(b'{"kind": "header"'):
                entry = _entry(path, number, line)
                found = found if isinstance(entry, bytes) or entry["kind"] != "header" else entry
    return found


def settings_below(root: Path) -> dict[str, Any]:
    """Returns how what lies in a folder was made, as the manifest in it or in the folder above it says; {} without one.

    A damaged manifest says nothing.
    """
    for folder in (root, root.parent):
        with contextlib.suppress(UserError, OSError):
            if header := header_of(folder / MANIFEST):
                return {key: value for key, value in header.items() if key not in _NOT_SETTINGS}
    return {}


class Manifest:
    """Reads and writes the record of a dump into `folder`.

    part: the part of the dump that this process does; it writes a file of its own and reads no other part's, as no two
        parts have the same video. None: it reads all files, and `open` joins them.
    header: the tool, its version and its settings, as last written.
    videos: folder of a video, relative to the dataset (such as "frames/class/video") -> its last line: status
        ("started", "ok", "partial" or "failed"), settings, frames (files in the folder), begins (see `Dumped`), source,
        errors ...
    """

    def __init__(self, folder: Path, name: str = MANIFEST, *, part: Part | None = None) -> None:
        self.path = folder / part_name(name, part)
        self.header: dict[str, Any] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        self._file: Any = None
        self._torn = self._headers = 0  # bytes, and number, in the file at `path`
        self._parts = list(parts_of(folder, name).values()) if part is None else []
        self._own: dict[str, dict[str, Any]] = {}  # what the file at `path` holds when the run is over
        if part is not None and (folder / name).exists():
            self._read(folder / name)
            self.videos, self._own = self._own, {}
        for path in (self.path, *self._parts):  # a part is newer than what was joined before it began
            if path.exists():
                torn, headers = self._read(path)
                if path == self.path:
                    self._torn, self._headers = torn, headers
        self.videos.update(self._own)

    def _read(self, path: Path) -> tuple[int, int]:
        """Reads one file.

        Returns how many bytes of its last line were written before it was torn off, and how many headers it has.
        """
        headers = 0
        for entry in _entries(path):
            if isinstance(entry, bytes):
                return len(entry), headers
            if entry["kind"] == "header":
                self.header = entry
                headers += 1
            else:
                self._own[entry["video"]] = entry
        return 0, headers

    def open(self, header: Mapping[str, Any]) -> None:
        """Begins a run: joins the files of parts, replaces the header and keeps the file open for `add`."""
        before, self.header = self.header, {"kind": "header", "format": FORMAT, **header}
        if self._parts or before != self.header or self._headers != 1:
            self._rewrite()
            for path in self._parts:
                path.unlink()
            self._parts, self._headers = [], 1
        elif self._torn:
            os.truncate(self.path, self.path.stat().st_size - self._torn)
        self._file = self.path.open("ab")

    def add(self, entry: Mapping[str, Any]) -> None:
        """Appends the line of one video, which replaces its earlier line."""
        entry = {"kind": "video", **entry}
        self.videos[entry["video"]] = self._own[entry["video"]] = entry
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
        self._rewrite()

    def _rewrite(self) -> None:
        with atomic_write(self.path) as file:
            headers = [self.header] if self.header else []  # a part may be killed before it has written one
            for entry in (*headers, *(self._own[video] for video in sorted(self._own))):
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

    It reads the manifest in `root` or in the folder above it, with those of parts, one line at a time; of several lines
    of one video the last one holds. Without a manifest nothing is yielded. Raises UserError for a damaged one.
    """
    for file, prefix in _manifests(root, MANIFEST):
        yield from _dumped(file, prefix)


def _manifests(root: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yields the manifests in `root` or in the folder above it, with how the videos in `root` begin there."""
    for folder, prefix in ((root, ""), (root.parent, f"{root.name}/")):
        files = [*([folder / name] if (folder / name).is_file() else []), *parts_of(folder, name).values()]
        if files:
            yield from ((file, prefix) for file in files)
            return


def dumps_of(root: Path, paths: Sequence[str], name: str = MANIFEST) -> str:
    """Returns a digest of the files that videos were dumped from, and of how; "" if no manifest knows any of them.

    A million videos take about 13 s. A damaged manifest says nothing.

    paths: below `root`.
    """
    places, about = {path: place for place, path in enumerate(paths)}, [b"?"] * len(paths)
    with contextlib.suppress(UserError, OSError):
        for file, prefix in _manifests(root, name):
            for entry in _entries(file):
                if isinstance(entry, bytes) or entry["kind"] == "header" or not entry["video"].startswith(prefix):
                    continue
                if (place := places.get(entry["video"].removeprefix(prefix))) is not None:
                    about[place] = _dump_of(entry)
        if any(one != b"?" for one in about):
            return hashlib.sha256(b"\n".join(about)).hexdigest()[:32]
    return ""


def _dump_of(entry: Mapping[str, Any]) -> bytes:
    keys = ("sha256", "start", "end", "settings", "version", "frames", "fields")
    bits = entry.get("bits")  # up to 8 are converted alike, and older versions wrote it of no video
    bits = bits if isinstance(bits, int) and bits > 8 else 8
    return json.dumps([*(entry.get(key) for key in keys), bits], sort_keys=True).encode()


def _dumped(file: Path, prefix: str) -> Iterator[Dumped]:
    """Yields the videos of one manifest whose folders begin with `prefix`, without it."""
    for entry in _entries(file):
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
            raise UserError(f"{file}: {damaged}") from error
        yield Dumped(entry["video"].removeprefix(prefix), frames, fps, begins)


def _entries(path: Path) -> Iterator[dict[str, Any] | bytes]:
    """Yields the lines of a manifest; a last one that was torn off as its bytes. Raises UserError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield (entry := _entry(path, number, line))
            if isinstance(entry, bytes):
                return


def _entry(path: Path, number: int, line: bytes) -> dict[str, Any] | bytes:
    """Returns what a line of a manifest says, or its bytes if it was torn off. Raises UserError."""
    if not line.endswith(b"\n"):
        return line
    try:
        entry: dict[str, Any] = json.loads(line)
        _ = os.fsencode(entry["video"]) if entry["kind"] != "header" else entry["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}:{number}: is not a line of a manifest ({error}); restore or remove it") from error
    if entry["kind"] == "header" and entry["format"] != FORMAT:
        raise UserError(f"{path}: has format {entry['format']}, but this version reads format {FORMAT}")
    return entry
