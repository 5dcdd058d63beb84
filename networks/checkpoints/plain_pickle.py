"""Reads pickles of numpy arrays in plain containers, as Caffe2's model zoos publish them, without running code."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from networks.checkpoints.safe_arrays import STAND_INS, encoded

ALLOWED = {**STAND_INS, "collections.OrderedDict": OrderedDict, "_codecs.encode": encoded}


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Unpickles in Python: the fast one makes room for as many objects as a file of nine bytes claims to have."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ALLOWED:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")  # the same words as torch's error
        return ALLOWED[f"{module}.{name}"]


def read_plain_pickle(path: Path, *, trust: bool = False) -> Any:
    """Returns the contents, with text of Python 2 decoded.

    trust: accept every object, which runs code from the file.
    Raises: pickle.UnpicklingError that names an object which is not allowed; EOFError and others for a damaged file.
    """
    if trust:
        with path.open("rb") as file:
            return pickle.load(file, encoding="latin1")
    return _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
