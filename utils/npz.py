"""Reads .npz files: no objects, and no memory for an array before its size is compared with that of the file."""

from __future__ import annotations

import io
import math
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from utils.files import DAMAGED, no_pipe

# arrays may unpack to this many bytes, and to this many times the size of the file
FREE_BYTES, MOST_TIMES = 64 << 20, 100


def names_in(path: Path) -> list[str]:
    """Returns the names of the arrays of an .npz file. Raises: ValueError for a damaged one; OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except OSError:
        raise
    except (*DAMAGED, MemoryError) as error:
        raise ValueError(f"{path}: damaged, or not what is expected ({error})") from None


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns these arrays of an .npz file.

    Raises: ValueError for a file that is damaged, lacks an array or holds objects; OSError if it cannot be read.
    """
    left, arrays = FREE_BYTES + MOST_TIMES * path.stat().st_size, {}
    try:
        with zipfile.ZipFile(no_pipe(path)) as archive:
            for name in names:
                member = archive.getinfo(f"{name}.npy")
                left -= member.file_size
                if left < 0:
                    raise ValueError(f"{name} claims to have {member.file_size} bytes")
                arrays[name] = _array(archive.read(member))
    except OSError:
        raise
    except (*DAMAGED, zlib.error, tokenize.TokenError, SyntaxError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path}: damaged, or not what is expected ({error})") from None
    return arrays


def _array(content: bytes) -> np.ndarray:
    """Returns the array of an .npy file; numpy's own reader takes the memory that a file claims before it looks."""
    file = io.BytesIO(content)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, fortran, kind = readers[npy.read_magic(file)](file)
    if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} does not have {len(content) - file.tell()} bytes")
    if kind.kind == "U" and len(content) > file.tell():
        points = np.frombuffer(content, np.dtype("u4").newbyteorder(kind.byteorder), offset=file.tell())
        if points.max() > sys.maxunicode:
            raise ValueError("an array of text holds numbers that are no characters")
    flat = np.frombuffer(content, kind, math.prod(shape), file.tell()) if math.prod(shape) else np.empty(0, kind)
    return flat.reshape(shape, order="F" if fortran else "C")
