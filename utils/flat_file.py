"""Stores several flat arrays in one file that is memory-mapped: it opens at once, and processes share its pages.

Layout: magic, length and checksum of the header, JSON header (a description by the caller, then dtype, shape and offset
of each array, and the checksum of all of them), then the arrays, each aligned to 64 bytes. Unlike a pickle it cannot
run code.
"""

from __future__ import annotations

import json
import math
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.files import atomic_write

_MAGIC = b"FLATARR2"
_WITHOUT_SUMS = b"FLATARR1"  # packs that were written before there were checksums
_NUMBER = 8  # bytes of a number in front of the header
_ALIGN = 64
_KINDS = "biufS"  # dtypes of plain numbers and bytes: an object would be a pointer that the file chooses
_BLOCK = 1 << 24


def save_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` and their description, which JSON can hold, to `path`, completely or not at all."""
    table, offset, check = {}, 0, 0
    pieces = []
    for name, array in arrays.items():
        table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        data = np.ascontiguousarray(array)
        for piece in (data.data.cast("B") if data.size else b"", b"\0" * (-data.nbytes % _ALIGN)):
            pieces.append(piece)
            check, offset = zlib.crc32(piece, check), offset + len(piece)
    header = json.dumps({"about": dict(description), "arrays": table, "bytes": offset, "sum": check}).encode()
    header += b" " * (-(len(_MAGIC) + 2 * _NUMBER + len(header)) % _ALIGN)
    with atomic_write(path) as file:
        file.write(_MAGIC + _to_bytes(len(header)) + _to_bytes(zlib.crc32(header)) + header)
        for piece in pieces:
            file.write(piece)


def _to_bytes(number: int) -> bytes:
    return number.to_bytes(_NUMBER, "little")


def _touch(array: np.ndarray) -> None:
    """Reads every page once, so that the system counts them as shared with workers that read them later."""
    array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()


def open_arrays(
    path: Path, *, check: bool = True, without_sums: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the caller's description and the arrays, mapped read-only.

    check: compares the arrays with their checksum, which reads the whole file; workers of a process that has done so
        need not.
    without_sums: whether the file may have been written before there were checksums.

    Raises: ValueError if the file has another format, is incomplete or damaged; OSError if it cannot be read.
    """
    try:
        return _open(path, check=check, without_sums=without_sums)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _open(path: Path, *, check: bool, without_sums: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with path.open("rb") as file:
        magic, length = file.read(len(_MAGIC)), int.from_bytes(file.read(_NUMBER), "little")
        if magic not in ((_MAGIC, _WITHOUT_SUMS) if without_sums else (_MAGIC,)):
            raise ValueError("not a file of arrays")
        header_sum = int.from_bytes(file.read(_NUMBER), "little") if magic == _MAGIC else None
        base, size = file.tell() + length, path.stat().st_size
        text = file.read(length) if base <= size else b""
        if header_sum is not None and zlib.crc32(text) != header_sum:
            raise ValueError("incomplete or damaged")
        header = json.loads(text or "{}")
        if header.get("bytes", -1) != size - base:
            raise ValueError("incomplete")
        if header_sum is not None and check:
            data_sum = 0
            while data := file.read(_BLOCK):
                data_sum = zlib.crc32(data, data_sum)
            if data_sum != header["sum"]:
                raise ValueError("damaged (wrong checksum)")
    arrays = {name: _map(path, base, size, entry) for name, entry in header["arrays"].items()}
    return dict(header["about"]), arrays


def _map(path: Path, base: int, size: int, entry: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(str(entry["dtype"])), tuple(int(length) for length in entry["shape"])
    start = base + int(entry["offset"])
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or not base <= start <= size:
        raise ValueError("damaged")
    if 0 in shape:
        return np.empty(0, dtype).reshape(shape)
    if math.prod(shape) * dtype.itemsize > size - start:
        raise ValueError("damaged")
    array = np.memmap(path, dtype, mode="r", offset=start, shape=shape).view(np.ndarray)
    _touch(array)
    return array


def is_offsets(array: np.ndarray, count: int, end: int) -> bool:
    """Returns whether an array says where `count` pieces of something begin, and as its last value where they end."""
    if array.shape != (count + 1,) or array.dtype.kind not in "iu":
        return False
    return int(array[0]) == 0 and int(array[-1]) == end and bool((array[1:] >= array[:-1]).all())
