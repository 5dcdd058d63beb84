"""Reads the project's own Python files for the tests of its structure and its prose."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.files import ROOT

# what a user or another file of ours imports or starts
PLACES = (
    *("main.py", "hubconf.py", "vmz", "methods", "networks", "datasets", "utils"),
    *("tools", "anal_tools", "benchmarks"),
)
OUR_NAMES = {place.removesuffix(".py") for place in PLACES} | {"tests"}
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Docstring:
    """Holds one docstring.

    line: the line of the file where it begins.
    kind: `module`, `class`, `property` or `function`.
    text: the docstring without its indentation.
    """

    line: int
    kind: str
    text: str


@cache
def syntax(path: Path) -> ast.Module:
    """Parses a file, once per process."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def python_files(place: str, root: Path = ROOT) -> list[Path]:
    """Returns the Python files of a folder, or the file itself, sorted."""
    path = root / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def modules(places: Sequence[str], root: Path = ROOT) -> dict[str, Path]:
    """Returns the module names of the given places with their files; a package is `a.b`, not `a.b.__init__`."""
    paths = (path for place in places for path in python_files(place, root))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(path: Path, module: str, *, at_start: bool = False) -> set[str]:
    """Returns the full names that a file imports: `a.b.c` for `from a.b import c`, whatever c is.

    at_start: leaves out imports inside functions, which run later.
    """
    found: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in _nodes(syntax(path), into_functions=not at_start):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            parts = [*above, *(node.module.split(".") if node.module else [])]
            found |= {".".join([*parts, alias.name]) for alias in node.names}
    return found


def import_graph(files: Mapping[str, Path], *, at_start: bool = False) -> Graph:
    """Returns for each module the other modules among `files` that it imports."""
    graph = {}
    for name, path in files.items():
        targets = {_module_of(imported, files) for imported in imports(path, name, at_start=at_start)}
        graph[name] = frozenset(targets - {"", name})
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Returns the groups of nodes that reach each other (Tarjan 1972, SIAM J. Comput. 1, p. 146-160), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            group, stack[place:] = stack[place:], []
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found)


def room(module: str) -> str:
    """Returns the part of a module's name that says where in its folder it is; `__init__` for the folder's own file."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def rooms(graph: Graph, folder: str) -> Graph:
    """Returns the imports between the rooms of a folder: its sub-folders and the files directly in it."""
    inside = {name: targets for name, targets in graph.items() if name.split(".")[0] == folder}
    found: dict[str, set[str]] = {room(name): set() for name in inside}
    for name, targets in inside.items():
        found[room(name)] |= {room(target) for target in targets if target in inside} - {room(name)}
    return {name: frozenset(targets) for name, targets in found.items()}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yields every function of a file, methods and nested functions included."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def docstrings(path: Path) -> Iterator[Docstring]:
    """Yields the docstrings of a file."""
    for node in ast.walk(syntax(path)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield Docstring(node.body[0].lineno, _kind(node), text)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of every string with more than one word and of every block of comments."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) > 1:
            yield node.lineno, inspect.cleandoc(node.value)
    first, words, last = 0, "", -1
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, text = token.start[0], token.string.lstrip("# ")
        if line != last + 1 and words:
            yield first, words
        first, words, last = (first, f"{words} {text}", line) if line == last + 1 else (line, text, line)
    if words:
        yield first, words


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.Module):
        return "module"
    if isinstance(node, ast.ClassDef):
        return "class"
    names = {ast.unparse(decorator).split(".")[-1] for decorator in getattr(node, "decorator_list", [])}
    return "property" if names & {"property", "cached_property"} else "function"


def _nodes(tree: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if into_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def _module_of(imported: str, files: Mapping[str, Path]) -> str:
    """Returns the module of an imported name, which may be one of its members; "" if it is none of ours."""
    package = imported.rpartition(".")[0]
    return imported if imported in files else package if package in files else ""
