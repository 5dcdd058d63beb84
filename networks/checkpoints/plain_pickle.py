"""Reads pickles of numpy arrays in plain containers, as Caffe2's model zoos publish them, without running code."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from networks.checkpoints.safe_arrays import STAND_INS, encoded


def _plain(names: Iterable[Any]) -> None:
    """Raises: pickle.UnpicklingError for a name that is not plain: tuples in tuples take forever, or end the process,
    when Python looks for them.
    """
    for name in names:
        if not isinstance(name, (str, bytes, int, float, type(None))):
            raise pickle.UnpicklingError(f"a {type(name).__name__} as a name or in a set")


class Names(OrderedDict[Any, Any]):
    """Stands for collections.OrderedDict."""

    def __init__(self, pairs: Iterable[Any] = ()) -> None:
        pairs = [(key, value) for key, value in pairs]
        _plain(key for key, _ in pairs)
        super().__init__(pairs)


class PlainUnpickler(pickle._Unpickler):
    """Unpickles in Python: the fast one makes room for as many objects as a file of nine bytes claims to have.

    It takes only plain names, and changes what it made, never a function or a class.
    """

    dispatch: dict[int, Callable[..., None]] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self) -> None:
        _plain(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _plain(self.stack[::2])  # since the last mark
        super().load_setitems()

    def load_dict(self) -> None:
        _plain(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        _plain(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        _plain(self.stack)
        super().load_frozenset()

    def load_build(self) -> None:
        if callable(self.stack[-2]):
            raise pickle.UnpicklingError("a function or a class that is to be changed")
        super().load_build()

    dispatch |= {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BUILD[0]: load_build,
    }


ALLOWED = {**STAND_INS, "collections.OrderedDict": Names, "_codecs.encode": encoded}


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
    return _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
