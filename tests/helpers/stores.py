"""Fills the stores of the table with frames that lie on a disk, so that contract tests can compare them with it.

A new store that reads something else than folders of frames is one function and one line in FILL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tools import pack_frames


class Server(Protocol):
    """A running memcached."""

    @property
    def address(self) -> str: ...


class Fill(Protocol):
    """Puts the frames of a list into a store, and returns the arguments with which it finds them.

    source: the list. root: the folder of its frames. memcached: starts a server. flow: whether they are optical flow.
    """

    def __call__(self, source: Path, root: Path, memcached: Callable[..., Server], *, flow: bool) -> dict[str, Any]: ...


def _memcached(source: Path, root: Path, memcached: Callable[..., Server], *, flow: bool) -> dict[str, Any]:
    return {"servers": [memcached().address]}  # it reads what is not there from the disk


def _packed(source: Path, root: Path, memcached: Callable[..., Server], *, flow: bool) -> dict[str, Any]:
    folder = str(root.parent / "pack")
    assert pack_frames.main([folder, str(source), "--root", str(root), *["--flow"] * flow]) == 0
    return {"folder": folder}


FILL: Mapping[str, Fill] = {"memcached": _memcached, "packed": _packed}


def fill(
    kind: str, source: Path, root: Path, memcached: Callable[..., Server], *, flow: bool = False
) -> dict[str, Any]:
    """Fills a store of the table; returns its arguments. One that is not in FILL reads folders of frames."""
    return FILL[kind](source, root, memcached, flow=flow) if kind in FILL else {}
