"""Stores several flat arrays in one file that is memory-mapped: it opens at once, and processes share its pages.

Layout: magic, length and sum (CRC-32) of the header, sum of all that follows it; a JSON header (a description by the
caller, then dtype, shape and offset of each array), then the arrays, each aligned to 64 bytes. Files of the first
version have no sums. Unlike a pickle such a file cannot run code, and damage to it is noticed when it is opened.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import atomic_write

_START, _FIRST_START = struct.Struct("<8sQII"), struct.Struct("<8sQ")
_MAGIC, _FIRST_MAGIC = b"FLATARR2", b"FLATARR1"
_ALIGN = 64


def save_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` and their description, which JSON can hold, to `path`, completely or not at all."""
    table, offset, total = {}, 0, 0
    parts = []
    for name, array in arrays.items():
        table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        data = np.ascontiguousarray(array)
        parts += [data.data.cast("B") if data.size else b"", b"\0" * (-data.nbytes % _ALIGN)]
        offset += data.nbytes + len(parts[-1])
    for part in parts:
        total = zlib.crc32(part, total)
    header = json.dumps({"about": dict(description), "arrays": table, "bytes": offset}).encode()
    header += b" " * (-(_START.size + len(header)) % _ALIGN)
    with atomic_write(path) as file:
        file.write(_START.pack(_MAGIC, len(header), zlib.crc32(header), total) + header)
        file.writelines(parts)


def open_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the caller's description and the arrays, mapped read-only.

    Raises: ValueError if the file has another format, is incomplete or damaged; OSError if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START.size)
        if start.startswith(_MAGIC) and len(start) == _START.size:
            _, length, *sums = _START.unpack(start)
        elif start.startswith(_FIRST_MAGIC) and len(start) == _START.size:
            (_, length), sums = _FIRST_START.unpack(start[: _FIRST_START.size]), []
            file.seek(_FIRST_START.size)
        else:
            raise ValueError(f"{path}: not a file of arrays")
        base, size = file.tell() + length, path.stat().st_size
        text = file.read(length) if base <= size else b""
    if len(text) != length or (sums and zlib.crc32(text) != sums[0]):
        raise ValueError(f"{path}: incomplete or damaged")
    try:
        about, table, total = _checked(json.loads(text))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: its header is damaged ({error})") from None
    if total != size - base:
        raise ValueError(f"{path}: incomplete")
    content = np.memmap(path, np.uint8, mode="r", offset=base, shape=(total,)) if total else np.empty(0, np.uint8)
    content = content.view(np.ndarray)
    # this reads every page, so that the system counts them as shared with workers
    if sums and zlib.crc32(memoryview(content)) != sums[1]:
        raise ValueError(f"{path}: damaged (wrong checksum)")
    arrays = {}
    for name, (kind, shape, offset) in table.items():
        count = math.prod(shape) * kind.itemsize
        arrays[name] = content[offset : offset + count].view(kind).reshape(shape)
    return about, arrays


def _checked(header: Any) -> tuple[dict[str, Any], dict[str, tuple[np.dtype, tuple[int, ...], int]], int]:
    """Returns description, arrays as (dtype, shape, offset) and number of bytes; raises where they cannot be right."""
    table, total = {}, int(header["bytes"])
    for name, entry in header["arrays"].items():
        kind, shape, offset = np.dtype(str(entry["dtype"])), tuple(map(int, entry["shape"])), int(entry["offset"])
        if kind.kind not in "biufS" or min((offset, *shape)) < 0 or offset % _ALIGN:
            raise ValueError(f"{name}: {entry}")
        if offset + math.prod(shape) * kind.itemsize > total:
            raise ValueError(f"{name} is larger than the file")
        table[name] = kind, shape, offset
    return dict(header["about"]), table, total


def check_arrays(path: Path, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, str]) -> None:
    """Checks that a file has these flat arrays. kinds: dtype by name. Raises: ValueError that names the first other."""
    for name, kind in kinds.items():
        if name not in arrays or arrays[name].ndim != 1 or arrays[name].dtype != np.dtype(kind):
            raise ValueError(f"{path}: {name} is missing or of another type")


def check_offsets(path: Path, offsets: np.ndarray, count: int, end: int) -> None:
    """Checks that `offsets` part `end` entries into `count` pieces. Raises: ValueError."""
    if len(offsets) != count + 1 or offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
        raise ValueError(f"{path}: its parts do not fit each other")
