"""Walks through a pickle before anything reads it, and refuses values that are nested without a bound.

A few hundred bytes can hold a tuple that holds another one twice, and so on: whatever hashes, compares or prints it has
no end, or ends the process. This also happens inside of torch's own reader, before its caller sees any value.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import IO, Any, ClassVar

DEEPEST = 200  # containers in each other; plain weights have some ten
OFTEN = 100  # how often each value may be met on a walk, in the mean: those in two containers are met twice
FREE = 100_000  # meetings that no walk notices


class _Values(list[Any]):
    """Stands for any container or object of a pickle: what was put into it."""


Load = Callable[[Any], None]


def _takes(walk: _Walk, count: int | None) -> list[Any]:
    """Takes values off the stack. count: None for all since the last mark."""
    return walk.pop_mark() if count is None else [walk.stack.pop() for _ in range(count)]


def _makes(count: int | None) -> Load:
    def load(walk: _Walk) -> None:
        walk.put(_takes(walk, count))

    return load


def _adds(count: int | None) -> Load:
    def load(walk: _Walk) -> None:
        values = _takes(walk, count)
        if not isinstance(walk.stack[-1], _Values):
            raise pickle.UnpicklingError("something is put into a value that holds nothing")
        walk.stack[-1] += values

    return load


def _makes_named(walk: _Walk) -> None:
    walk.readline()
    walk.readline()
    walk.put(walk.pop_mark())


# the instructions that make something of values, or put values into something -> how many values
MAKES = {
    **dict.fromkeys((pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_SET, pickle.EMPTY_TUPLE), 0),
    **dict.fromkeys((pickle.DICT, pickle.LIST, pickle.TUPLE, pickle.FROZENSET, pickle.OBJ), None),
    **{pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.REDUCE: 2, pickle.NEWOBJ: 2, pickle.TUPLE3: 3, pickle.NEWOBJ_EX: 3},
}
ADDS = {
    **{pickle.APPEND: 1, pickle.BUILD: 1, pickle.SETITEM: 2},
    **dict.fromkeys((pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS), None),
}


class _Walk(pickle._Unpickler):
    """Makes nothing but `_Values` out of a pickle, and imports nothing."""

    stack: list[Any]
    append: Load
    pop_mark: Callable[[], list[Any]]
    readline: Callable[[], bytes]
    dispatch: ClassVar[dict[int, Load]] = {
        **pickle._Unpickler.dispatch,
        **{code[0]: _makes(count) for code, count in MAKES.items()},
        **{code[0]: _adds(count) for code, count in ADDS.items()},
        pickle.INST[0]: _makes_named,
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self.made: list[_Values] = []

    def put(self, values: list[Any]) -> None:
        self.made.append(_Values(values))
        self.append(self.made[-1])

    def find_class(self, module: str, name: str) -> Any:
        return _Values()

    def persistent_load(self, pid: Any) -> Any:
        return _Values([pid])

    def get_extension(self, code: int) -> None:
        self.append(_Values())


def check_containers(file: IO[bytes]) -> None:
    """Reads one pickle to its end. Raises: pickle.UnpicklingError for values nested too deeply or too often."""
    walk = _Walk(file)
    walk.load()
    held = sum(map(len, walk.made))
    if not _is_bounded(walk.made, FREE + OFTEN * held):
        raise pickle.UnpicklingError("its values are nested too deeply, or too often in each other")


def _is_bounded(made: list[_Values], most: int) -> bool:
    """Says whether no walk through one of these has more than `most` steps, or is more than DEEPEST deep."""
    known: dict[int, tuple[int, int]] = {}  # steps, and how many containers are in each other
    begun: set[int] = set()  # what is inside of itself counts as one step there
    for start in made:
        todo = [start]
        while todo:
            values = todo[-1]
            if id(values) not in begun:
                begun.add(id(values))
                todo += [one for one in values if isinstance(one, _Values) and id(one) not in begun]
                continue
            todo.pop()
            if id(values) in known:
                continue
            inner = [known.get(id(one), (1, 0)) for one in values]
            known[id(values)] = 1 + sum(steps for steps, _ in inner), 1 + max((deep for _, deep in inner), default=0)
            if known[id(values)][0] > most or known[id(values)][1] > DEEPEST:
                return False
    return True
