"""Finds the files that a list means where it spells their paths otherwise than the disk does.

An accented letter is one character or two in Unicode. macOS and archives made there often have two, most lists one, and
Linux takes both for different names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from datasets.lists.columns import composed
from datasets.lists.records import RecordList
from datasets.places.place import Address
from utils.errors import ListError

_BLOCK = 1 << 24


def as_on_disk(records: RecordList) -> RecordList:
    """Returns the list with its paths spelled as on the disk; what is not there stays as it is.

    Raises ListError for a path that is there only with / instead of backslashes.
    """
    if isinstance(records.root, Address):  # whose spelling is that of its server
        return records
    spelling, changed = Spelling(records.root), {}
    for index in _unusual(records):
        path = records.path(index)
        spelled = spelling.of(path)
        if "\\" in spelled and os.sep == "/":
            _refuse_backslashes(records, index, path)
        if spelled != path:
            changed[index] = spelled
    return records.with_paths(changed) if changed else records


class Spelling:
    """Knows how the disk spells paths below `root`. Each folder is read once, so an object is for one moment."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._known: dict[str, dict[str, str]] = {}

    def of(self, path: str) -> str:
        """Returns a path as the disk spells it; unchanged if it is not there."""
        if path.isascii() and "\\" not in path:
            return path
        folder, found = ("/" if path.startswith("/") else self._root), []
        for part in path.split("/"):
            if part not in ("", ".", ".."):
                names = self._names(folder)
                part = names.get(part) or names.get(composed(part), part)
            found.append(part)
            folder = f"{folder}/{part}"
        spelled = "/".join(found)
        return spelled if spelled == path or os.path.lexists(folder) else path

    def _names(self, folder: str) -> dict[str, str]:
        """Returns the names in a folder, by themselves and by their composed form."""
        if folder not in self._known:
            try:
                names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed
            except OSError:
                names = []
            self._known[folder] = {composed(name): name for name in names} | {name: name for name in names}
        return self._known[folder]


def _unusual(records: RecordList) -> list[int]:
    """Returns the records whose path has a character beyond ASCII or a backslash."""
    blob, offsets = records.arrays()["blob"], records.arrays()["offsets"]
    found: list[np.ndarray] = []
    for start in range(0, len(blob), _BLOCK):
        block = blob[start : start + _BLOCK]
        places = np.flatnonzero((block >= 0x80) | (block == ord("\\"))) + start
        found.append(np.unique(np.searchsorted(offsets, places, side="right") - 1))
    return np.unique(np.concatenate(found)).tolist() if found else []


def _refuse_backslashes(records: RecordList, index: int, path: str) -> None:
    slashes = path.replace("\\", "/")
    if not os.path.lexists(records.full_path(index)) and Path(records.root, slashes).exists():
        raise ListError(
            f"{records.where(index)}: {path!r} separates folders by backslashes, as Windows does; write {slashes!r}, "
            "here and in the other lines"
        )
