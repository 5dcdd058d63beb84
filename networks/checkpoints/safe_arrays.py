"""Stands in for what pickles of arrays ask of numpy, so that numpy itself sees only numbers and their bytes.

numpy's own constructors take what a file tells them: a dtype of objects makes pointers out of the file's bytes.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

PLAIN = re.compile(r"[<>|=]?(b1|[biufc]\d{1,2}|[?bhilqpBHILQPefdg])")


class Dtype:
    """Stands for numpy.dtype: the type of plain numbers, by its name."""

    def __init__(self, name: Any = "f4", *_: Any) -> None:
        plain = isinstance(name, str) and PLAIN.fullmatch(name)
        self.dtype = np.dtype(name) if plain else None  # of text or objects, which no weights need

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if self.dtype is not None and order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class Array(np.ndarray):
    """Stands for numpy.ndarray: an array of numbers, whose bytes the file holds; anything else is an empty one."""

    def __new__(cls, *_: Any) -> Array:
        """Makes an empty array, whatever is asked for; the file fills it by its state."""
        return np.ndarray.__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        dtype = kind.dtype if isinstance(kind, Dtype) else None
        if dtype is None:  # an array of text or objects: nothing that is read here needs it
            return
        data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's bytes
        if not isinstance(data, bytes) or not isinstance(shape, tuple) or {*map(type, shape)} - {int}:
            raise ValueError("an array without a shape or without bytes")  # numbers of numpy overflow in a product
        if math.prod(shape) * dtype.itemsize != len(data) or min(shape, default=0) < 0:
            raise ValueError(f"an array of shape {shape} does not have {len(data)} bytes")
        super().__setstate__((1, tuple(shape), dtype, bool(fortran), data))  # type: ignore[arg-type]


def rebuilt(*_: Any) -> Array:
    """Stands for numpy's _reconstruct, which makes the empty array that the state fills."""
    return Array()


def scalar(kind: Any, data: Any = b"") -> Any:
    """Stands for numpy's scalar: a number from its bytes; None for anything else."""
    dtype = kind.dtype if isinstance(kind, Dtype) else None
    data = data.encode("latin1") if isinstance(data, str) else data
    if dtype is None or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        return None
    return np.frombuffer(data, dtype)[0]


class Ignored:
    """Replaces an object that nothing here needs: whatever it is made from, nothing is kept and nothing is run."""

    def __init__(self, *_: Any) -> None: ...
    def __setstate__(self, _: Any) -> None: ...


def encoded(text: Any, codec: str = "latin1") -> bytes:
    """Stands for _codecs.encode, by which Python 3 pickles bytes of Python 2."""
    if codec not in ("latin1", "latin-1") or not isinstance(text, str):
        raise ValueError("text in another codec than latin1")
    return text.encode("latin1")


def no_bytes(*_: Any) -> bytes:
    """Stands for `bytes`, which Python 3 calls for empty bytes in an old pickle, and for nothing else."""
    return b""


# what pickles of arrays ask for -> what they get; numpy 2 renamed numpy.core
STAND_INS: dict[str, Any] = {
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "__builtin__.bytes": no_bytes,
    **{f"numpy.{core}.multiarray._reconstruct": rebuilt for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": scalar for core in ("core", "_core")},
    **{f"numpy.dtypes.{type(np.dtype(kind)).__name__}": Dtype for kind in np.typecodes["All"]},
}
