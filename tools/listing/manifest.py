"""Records a dump in `manifest.jsonl` next to the frames: how they were made, and one line per video.

The file grows by whole lines, so it can be read at any moment of a run and after a kill; if a power cut tears the last
line, it is dropped. A finished run rewrites the file in sorted order, without the lines that later ones replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import atomic_write

MANIFEST = "manifest.jsonl"
FORMAT = 1


class Manifest:
    """Reads and writes the record of a dump into `folder`.

    header: the tool, its version and its settings, as last written.
    videos: folder of a video, relative to the dataset (such as "frames/class/video") -> its last line: status
        ("started", "ok", "partial" or "failed"), settings, frames (files in the folder), source, errors ...
    """

    def __init__(self, folder: Path, name: str = MANIFEST) -> None:
        self.path = folder / name
        self.header: dict[str, Any] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        self._file: Any = None
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        lines = self.path.read_bytes().split(b"\n")
        torn = lines.pop()  # b"" if the file ends with a line break
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if entry["kind"] == "header":
                    if entry["format"] != FORMAT:
                        raise UserError(
                            f"{self.path}: has format {entry['format']}, but this version reads format {FORMAT}"
                        )
                    self.header = entry
                else:
                    self.videos[entry["video"]] = entry
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(
                    f"{self.path}:{number}: is not a line of a manifest ({error}); restore or remove it"
                ) from error
        self._torn = len(torn)

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
