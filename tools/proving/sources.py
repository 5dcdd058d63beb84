"""Finds the code that decides the facts of a cell, so that a change of other code leaves the cell proved."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from networks import IMAGE_BACKBONES
from networks.temporal import TEMPORAL_MODULES
from tools.proving.cells import Cell
from utils.files import ROOT

# what proves a cell; what these import of the rooms below is followed too
PROOF = (
    "methods/frame_by_frame.py",
    "methods/tsn.py",
    "tools/exporting/__init__.py",
    "tools/exporting/export.py",
    "tools/exporting/random_weights.py",
    "tools/proving/cells.py",
    "utils/run/flops.py",
)
ROOMS = ("methods", "networks")
# what methods/tsn.py imports for all cells, and whose modules' cells use it: the neck is in no cell
USED_BY = {"networks/temporal/tpn.py": (), "networks/temporal/tdn.py": ("tdn",)}
PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime")


def digest(cell: Cell) -> str:
    """Returns a word that changes with the packages and the code that the facts of a cell depend on.

    Comments and docstrings do not count.
    """
    words = hashlib.sha256(f"{cell} {_versions()}".encode())
    for place in sorted(sources(cell)):
        words.update(f"\n{place}\n{_code(ROOT / place)}".encode())
    return words.hexdigest()[:16]


def sources(cell: Cell) -> set[str]:
    """Returns the files of this project that the facts of a cell depend on, relative to its root.

    Of the tables of networks and of modules, only what stands in the cell's own entries is followed.
    """
    entries = (IMAGE_BACKBONES.get(cell.backbone.name), TEMPORAL_MODULES.get(cell.module))
    own = (inspect.getsourcefile(inspect.unwrap(entry)) for entry in entries if entry is not None)
    found: set[str] = set()
    ahead = [*PROOF, *(Path(name).relative_to(ROOT).as_posix() for name in own if name is not None)]
    while ahead:
        place = ahead.pop()
        if place not in found and cell.module in USED_BY.get(place, (cell.module,)):
            found.add(place)
            ahead += _imported(place)
    return found


@functools.cache
def _imported(place: str) -> list[str]:
    """Returns the files of ROOMS that a file imports, but not what a package as such lists in its __init__.py."""
    names: list[str] = []
    for node in ast.walk(_tree(ROOT / place)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return list(_files(names))


def _files(names: list[str]) -> Iterator[str]:
    for name in names:
        file = f"{name.replace('.', '/')}.py"
        if name.split(".")[0] in ROOMS and (ROOT / file).is_file():
            yield file


@functools.cache
def _code(path: Path) -> str:
    """Returns what a file does, in a form that comments, docstrings and line breaks do not change."""
    tree = _tree(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _versions() -> list[str]:
    return [f"{package} {version(package)}" for package in PACKAGES]
