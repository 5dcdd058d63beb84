"""Reads pickles of numpy arrays in plain containers, as Caffe2's model zoos publish them, without running code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

# what such files need in addition to Python's own containers and numbers; numpy 2 renamed numpy.core
ALLOWED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),  # Python 3 pickles bytes of Python 2 with it
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")  # the same words as torch's error
        return super().find_class(module, name)


def read_plain_pickle(path: Path, *, trust: bool = False) -> Any:
    """Returns the contents, with text of Python 2 decoded.

    trust: accept every object, which runs code from the file.
    Raises: pickle.UnpicklingError that names an object which is not allowed; EOFError and others for a damaged file.
    """
    with path.open("rb") as file:
        if trust:
            return pickle.load(file, encoding="latin1")
        contents = _Unpickler(file, encoding="latin1").load()
    _refuse_objects(contents)
    return contents


def _refuse_objects(contents: Any) -> None:
    if isinstance(contents, dict):
        for value in contents.values():
            _refuse_objects(value)
    elif isinstance(contents, np.ndarray) and contents.dtype.hasobject:
        raise pickle.UnpicklingError("GLOBAL numpy.object_")
