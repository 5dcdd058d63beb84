"""Several flat arrays in one file that is opened by mapping it: instantly, and shared by every process that reads it.

Layout: magic, length of the header, JSON header (what the caller says, and dtype, shape and offset of each array), then
the arrays, each aligned to 64 bytes. Nothing in it is ever executed, unlike pickle.
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


def save_arrays(path: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` and the JSON-able `about` to `path`, whole or not at all."""
    table, offset = {}, 0
    for name, array in arrays.items():
        table[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // _ALIGN) * _ALIGN
    header = json.dumps({"about": dict(about), "arrays": table, "bytes": offset}).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGN)
    with atomic_write(path) as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            data = np.ascontiguousarray(array)
            file.write(data.data.cast("B") if data.size else b"")
            file.write(b"\0" * (-data.nbytes % _ALIGN))


def _touch(array: np.ndarray) -> None:
    """Brings every page in, so that what workers read later is counted as shared with this process, not as theirs."""
    array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()


def open_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the caller said about the arrays, and the arrays themselves, mapped read-only.

    Raises ValueError if the file is not one of ours or is not whole, OSError if it cannot be read.
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
        raise ValueError(f"{path}: not whole")
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
