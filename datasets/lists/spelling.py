"""Finds the files that a list means where it spells their paths otherwise than the disk does.

An accented letter is one character or two in Unicode. macOS and archives made there often have two, most lists one, and
Linux takes both for different names.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

from datasets.lists.columns import composed
from datasets.lists.records import RecordList
from utils.errors import ListError

_BLOCK = 1 << 24


def as_on_disk(records: RecordList) -> RecordList:
    """Returns the list with its paths spelled as on the disk; what is not there stays as it is.

    Raises ListError for a path that is there only with / instead of backslashes.
    """
    changed: dict[int, str] = {}
    for index in _unusual(records):
        path = records.path(index)
        spelled = spelling(str(records.root), path)
        if "\\" in spelled and os.sep == "/":
            _refuse_backslashes(records, index, path)
        if spelled != path:
            changed[index] = spelled
    return records.with_paths(changed) if changed else records


def spelling(root: str, path: str) -> str:
    """Returns a path below `root` as the disk spells it; unchanged if it is not there."""
    if path.isascii() and "\\" not in path:
        return path
    folder, found = ("/" if path.startswith("/") else root), []
    for part in path.split("/"):
        if part not in ("", ".", ".."):
            names = _names(folder)
            part = names.get(part) or names.get(composed(part), part)
        found.append(part)
        folder = f"{folder}/{part}"
    spelled = "/".join(found)
    return spelled if spelled == path or os.path.lexists(folder) else path


@lru_cache(maxsize=4096)
def _names(folder: str) -> dict[str, str]:
    """Returns the names in a folder, by themselves and by their composed form."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except OSError:
        return {}
    return {composed(name): name for name in names} | {name: name for name in names}


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
    if not os.path.lexists(records.full_path(index)) and (records.root / slashes).exists():
        raise ListError(
            f"{records.where(index)}: {path!r} separates folders by backslashes, as Windows does; write {slashes!r}, "
            "here and in the other lines"
        )
