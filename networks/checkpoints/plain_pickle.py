"""Reads pickles of numpy arrays in plain containers, as Caffe2's model zoos publish them, without running code."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from networks.checkpoints.safe_arrays import STAND_INS, encoded


def _plain(names: Iterable[Any]) -> None:
    """Raises: pickle.UnpicklingError for another name: tuples in tuples take forever to find, or end the process."""
    for name in names:
        if not isinstance(name, (str, bytes, int, float, type(None))):
            raise pickle.UnpicklingError(f"a {type(name).__name__} as a name or in a set")


class Names(OrderedDict[Any, Any]):
    """Stands for collections.OrderedDict."""

    def __init__(self, pairs: Iterable[Any] = ()) -> None:
        pairs = [(key, value) for key, value in pairs]
        _plain(key for key, _ in pairs)
        super().__init__(pairs)


def _checked(code: int, part: slice) -> Callable[[Any], None]:
    """Returns what an instruction does, after a look at the names among what it takes off the stack."""
    load = pickle._Unpickler.dispatch[code]

    def checked(unpickler: Any) -> None:
        _plain(unpickler.stack[part])
        load(unpickler)

    return checked


def _build(unpickler: Any) -> None:
    if callable(unpickler.stack[-2]):
        raise pickle.UnpicklingError("a function or a class that is to be changed")
    pickle._Unpickler.dispatch[pickle.BUILD[0]](unpickler)


# instructions that make a dict or a set -> where the names are on the stack, for most of them since the last mark
NAMES = {
    pickle.SETITEM: slice(-2, -1),
    **dict.fromkeys((pickle.SETITEMS, pickle.DICT), slice(None, None, 2)),
    **dict.fromkeys((pickle.ADDITEMS, pickle.FROZENSET), slice(None)),
}


class PlainUnpickler(pickle._Unpickler):
    """Unpickles in Python: the fast one makes room for as many objects as a file of nine bytes claims to have.

    It takes only plain names, and changes what it made, never a function or a class.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **{code[0]: _checked(code[0], part) for code, part in NAMES.items()},
        pickle.BUILD[0]: _build,
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
