"""Stores several flat arrays in one file that is memory-mapped: it opens at once, and processes share its pages.

Layout: magic, length of the header, JSON header (a description by the caller, then dtype, shape and offset of each
array), then the arrays, each aligned to 64 bytes. Unlike a pickle it cannot run code.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import atomic_write

_MAGIC = b"FLATARR1"
_ALIGN = 64


def save_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` and their description, which JSON can hold, to `path`, completely or not at all."""
    table, offset = {}, 0
    for name, array in arrays.items():
        table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // _ALIGN) * _ALIGN
    header = json.dumps({"about": dict(description), "arrays": table, "bytes": offset}).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGN)
    with atomic_write(path) as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            data = np.ascontiguousarray(array)
            file.write(data.data.cast("B") if data.size else b"")
            file.write(b"\0" * (-data.nbytes % _ALIGN))


def _touch(array: np.ndarray) -> None:
    """Reads every page once, so that the system counts them as shared with workers that read them later."""
    array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()


def open_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the caller's description and the arrays, mapped read-only.

    Raises: ValueError if the file has another format or is incomplete; OSError if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC) + 8)
        if len(start) < len(_MAGIC) + 8 or not start.startswith(_MAGIC):
            raise ValueError(f"{path}: not a file of arrays")
        length = int.from_bytes(start[len(_MAGIC) :], "little")
        file.seek(0, 2)
        size = file.tell()
        file.seek(len(start))
        header = json.loads(file.read(length)) if length <= size else {}
    base = len(start) + length
    if header.get("bytes", -1) != size - base:
        raise ValueError(f"{path}: incomplete")
    arrays = {}
    for name, entry in header["arrays"].items():
        shape = tuple(entry["shape"])
        if 0 in shape:
            arrays[name] = np.empty(shape, np.dtype(entry["dtype"]))
        else:
            mapped = np.memmap(path, np.dtype(entry["dtype"]), mode="r", offset=base + entry["offset"], shape=shape)
            arrays[name] = mapped.view(np.ndarray)
            _touch(arrays[name])
    return header["about"], arrays
