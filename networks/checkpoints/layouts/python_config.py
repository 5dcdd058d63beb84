"""Reads Python configs of mmcv and mmengine from checkpoints, by their syntax tree: nothing is run.

mmengine writes one text with everything resolved. mmcv 0.x writes one file after the other, each after a line with its
path, and the inherited files first.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 500_000  # characters or entries; real texts have about 10,000, and huge ones can crash Python's parser
PATH_LINE = re.compile(r"^[^\s=()'\"]+\.py$", re.MULTILINE)
DELETE = "_delete_"  # in an inherited dict: replace it instead of changing it
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


LARGEST = 1 << 64  # of whole numbers; those of real configs count videos


class _UnreadError(Exception):
    """Raised for an expression whose value only running it would show."""


def read_python_config(text: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the values of a config's names, and the expressions that were left out because they would have to be run.

    Raises: ValueError with the reason for a text that is not Python.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters")
    config: dict[str, Any] = {}
    unread: list[str] = []
    budget = _Budget()
    for part in PATH_LINE.split(text):
        reader = _Reader(unread, budget)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about escapes that a later Python will refuse
                statements = ast.parse(part).body
            for statement in statements:
                reader.read(statement)
            config = _inherit(config, reader.names, budget)
        except SyntaxError as error:
            raise ValueError(f"not Python: {error.msg}") from None
        except (RecursionError, MemoryError):
            raise ValueError("nested too deeply") from None
    return config, unread


def section(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Returns the dict under `key`, or an empty one."""
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


class _Budget:
    """Counts entries and characters of all values: a few names that hold each other can stand for any number."""

    def __init__(self) -> None:
        self.left = LONGEST

    def spend(self, count: int) -> None:
        """Raises: ValueError when more than LONGEST have been spent."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"its values have more than {LONGEST} entries")

    def spend_on(self, value: Any) -> None:
        """Spends what a value holds at every depth."""
        todo = [value]
        while todo:
            value = todo.pop()
            self.spend(len(value) if isinstance(value, (str, bytes)) else 1)
            if isinstance(value, (list, dict)):
                todo += value.values() if isinstance(value, dict) else value


def _inherit(base: Mapping[str, Any], changes: Mapping[str, Any], budget: _Budget) -> dict[str, Any]:
    """Applies the changes of a file that inherits from a config: dicts are merged, other values are replaced."""
    budget.spend(len(base) + len(changes))
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not value.get(DELETE):
            value = _inherit(old, value, budget)
        merged[key] = value
    return merged


class _Reader:
    """Reads the names of one file, statement by statement."""

    def __init__(self, unread: list[str], budget: _Budget) -> None:
        self.names: dict[str, Any] = {}
        self.unread, self.budget = unread, budget

    def read(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    self.names[name] = found = self.value(value)
                    self.budget.spend_on(found)
                except _UnreadError:
                    self.names.pop(name, None)
                    self._leave_out(statement)
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case _:
                self._leave_out(statement)

    def value(self, node: ast.expr) -> Any:
        """Evaluates literals, dict(...), earlier names and their arithmetic. Raises: _UnreadError for anything else."""
        match node:
            case ast.Constant(value=value) if not isinstance(value, int) or value <= LARGEST:
                return value
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._or_none(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                names = [None if key is None else self.value(key) for key in keys]
                return self._dict([*zip(names, values, strict=True)])
            case ast.Call(func=ast.Name(id="dict"), args=given, keywords=keywords):
                pairs = [(None, argument) for argument in given]
                return self._dict(pairs + [(keyword.arg, keyword.value) for keyword in keywords])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._computed(operator.neg, operand)
            case ast.BinOp(op=op, left=left, right=right) if type(op) in OPERATORS:
                return self._computed(OPERATORS[type(op)], left, right)
            case ast.Subscript(value=holder, slice=key):
                return self._computed(operator.getitem, holder, key)
        raise _UnreadError

    def _computed(self, function: Callable[..., Any], *nodes: ast.expr) -> Any:
        values = [self.value(node) for node in nodes]
        sizes = [len(value) if isinstance(value, (str, list)) else value for value in values]
        if function is operator.mul and sizes != values and sizes[0] * sizes[1] > LONGEST:
            raise _UnreadError  # [128] * 10**9 would fill the memory
        try:
            result = function(*values)
        except (TypeError, ArithmeticError, LookupError):
            raise _UnreadError from None
        if isinstance(result, int) and abs(result) > LARGEST:
            raise _UnreadError  # thirty squares of a long number would take hours
        if isinstance(result, (str, list)):
            self.budget.spend(len(result))
        return result

    def _dict(self, items: list[tuple[Any, ast.expr]]) -> dict[Any, Any]:
        """Makes a dict of keys and values, where the key None means `**mapping`; what cannot be read is left out."""
        made: dict[Any, Any] = {}
        for key, node in items:
            try:
                value = self.value(node)
                self.budget.spend(len(value) if key is None and isinstance(value, dict) else 1)
                made |= value if key is None else {key: value}
            except (_UnreadError, TypeError):
                self._leave_out(node, key)
        return made

    def _or_none(self, node: ast.expr) -> Any:
        try:
            return self.value(node)
        except _UnreadError:
            self._leave_out(node)
            return None

    def _leave_out(self, node: ast.AST, key: Any = None) -> None:
        text = ast.unparse(node).split("\n")[0]
        named = f"{key}={text}" if key is not None else text
        self.unread.append(named if len(named) <= 60 else f"{named[:57]}...")
