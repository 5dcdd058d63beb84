"""Stores several flat arrays in one file that is memory-mapped: it opens at once, and processes share its pages.

Layout: magic, length of the header, JSON header (a description by the caller, then dtype, shape and offset of each
array, and a checksum of all this), then the arrays, each aligned to 64 bytes. Unlike a pickle it cannot run code.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import atomic_write

_MAGIC = b"FLATARR1"
_ALIGN = 64
_KINDS = "biufSU"  # of dtypes: numbers and text, which are no pointers


def save_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` and their description, which JSON can hold, to `path`, completely or not at all."""
    table, offset = {}, 0
    for name, array in arrays.items():
        table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // _ALIGN) * _ALIGN
    entries: dict[str, Any] = {"about": dict(description), "arrays": table, "bytes": offset}
    checksum = zlib.crc32(json.dumps(entries).encode())
    for array in arrays.values():
        checksum = zlib.crc32(_padding(array), zlib.crc32(_bytes(array).data, checksum))
    header = json.dumps({**entries, "sum": checksum}).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGN)
    with atomic_write(path) as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(_bytes(array))
            file.write(_padding(array))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _padding(array: np.ndarray) -> bytes:
    return b"\0" * (-array.nbytes % _ALIGN)


def open_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the caller's description and the arrays, mapped read-only.

    Reads every page once, for the checksum; the system then counts them as shared with workers that read them later.
    Raises: ValueError if the file has another format, is incomplete or damaged; OSError if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC) + 8)
        if len(start) < len(_MAGIC) + 8 or not start.startswith(_MAGIC):
            raise ValueError(f"{path}: not a file of arrays")
        length = int.from_bytes(start[len(_MAGIC) :], "little")
        size = os.fstat(file.fileno()).st_size
        base = len(start) + length
        if base > size:
            raise ValueError(f"{path}: incomplete")
        header = file.read(length)
    data = np.memmap(path, np.uint8, mode="r", offset=base).view(np.ndarray) if size > base else np.empty(0, np.uint8)
    try:
        entries = json.loads(header)
        checksum = entries.pop("sum", None)  # packs of earlier versions have none
        if entries.keys() != {"about", "arrays", "bytes"}:
            raise ValueError(f"{path}: damaged (unknown entries)")
        if entries["bytes"] != len(data):
            raise ValueError(f"{path}: incomplete")
        found = zlib.crc32(data.data, zlib.crc32(json.dumps(entries).encode()))
        if checksum not in (None, found):
            raise ValueError(f"{path}: damaged (wrong checksum)")
        arrays = {name: _array(data, **entry) for name, entry in entries["arrays"].items()}
        return dict(entries["about"]), arrays
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path}: damaged ({error})") from None


def _array(data: np.ndarray, *, dtype: str, shape: list[int], offset: int) -> np.ndarray:
    """Returns one array as a view of the mapped bytes."""
    kind, count = np.dtype(dtype), math.prod(shape)
    if kind.kind not in _KINDS or min(shape, default=0) < 0 or not 0 <= offset <= len(data) - count * kind.itemsize:
        raise ValueError(f"it has no place for {dtype} {shape}")
    return data[offset : offset + count * kind.itemsize].view(kind).reshape(shape)
