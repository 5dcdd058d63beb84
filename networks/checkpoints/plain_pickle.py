"""Reads pickles of numpy arrays in plain containers, as Caffe2's model zoos publish them, without running code."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from networks.checkpoints.safe_arrays import STAND_INS, encoded
from utils.pickle_containers import check_containers


def _build(unpickler: Any) -> None:
    if callable(unpickler.stack[-2]):
        raise pickle.UnpicklingError("a function or a class that is to be changed")
    pickle._Unpickler.dispatch[pickle.BUILD[0]](unpickler)


class PlainUnpickler(pickle._Unpickler):
    """Unpickles in Python: the fast one makes room for as many objects as a file of nine bytes claims to have.

    It changes what it made, never a function or a class. Raises: pickle.UnpicklingError for values without a bound.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: _build}

    def __init__(self, content: bytes) -> None:
        check_containers(io.BytesIO(content))
        super().__init__(io.BytesIO(content), encoding="latin1")


ALLOWED = {**STAND_INS, "collections.OrderedDict": OrderedDict, "_codecs.encode": encoded}


class _Unpickler(PlainUnpickler):
    """Makes arrays and plain containers."""

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
    return _Unpickler(path.read_bytes()).load()
