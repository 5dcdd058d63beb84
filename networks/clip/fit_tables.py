"""Resizes the learned tables of places in a file to those of a network for clips of another length or size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Grid = tuple[int, int, int]  # tokens along time, height and width


@dataclass(frozen=True)
class Places:
    """Describes a table: the places that it has vectors for, and how it is resized.

    grid: its places along time, height and width, 1 along an axis that it does not tell apart.
    first: vectors in front of them, of class tokens, which stay.
    way: nearest: the nearest entries. smooth: bicubic for each moment, then linear over moments.
    """

    grid: Grid
    first: int = 0
    way: Literal["nearest", "smooth"] = "smooth"


@runtime_checkable
class HasTables(Protocol):
    """A network with learned tables of places."""

    def tables(self) -> Mapping[str, Places]:
        """Returns its tables by the names of the modules that hold them."""
        ...


def fit_tables(network: nn.Module, found: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Returns the tables in `found` that have another size than the network's, resized to it.

    Tables are for square pictures; one that is not stays out of the answer, and so does one of another width.
    """
    resized: dict[str, Tensor] = {}
    for name, places in network.tables().items() if isinstance(network, HasTables) else ():
        key, own = f"{prefix}{name}.weight", network.get_parameter(f"{name}.weight")
        table = found.get(key)
        if table is None or table.shape == own.shape or table.shape[1:] != own.shape[1:]:
            continue
        if (value := _resized(table, places)) is not None:
            resized[key] = value
    return resized


def _resized(table: Tensor, places: Places) -> Tensor | None:
    first, rest = table[: places.first], table[places.first :]
    moments, side = _grid_of(len(rest), places.grid)
    if not side or side * side * moments != len(rest):
        return None
    maps = rest.float().unflatten(0, (moments, side, side)).permute(0, 3, 1, 2)  # (T', D, H', W')
    space, time = ("nearest", "nearest") if places.way == "nearest" else ("bicubic", "linear")
    if maps.shape[2:] != places.grid[1:]:
        maps = nn.functional.interpolate(maps, places.grid[1:], mode=space)
    if moments != places.grid[0]:
        rows = maps.flatten(1).T[None]  # (1, D * H' * W', T')
        maps = nn.functional.interpolate(rows, places.grid[0], mode=time)[0].T.unflatten(1, maps.shape[1:])
    return torch.cat([first, maps.permute(0, 2, 3, 1).flatten(0, 2).to(table.dtype)])


def _grid_of(count: int, grid: Grid) -> tuple[int, int]:
    """Returns how many moments, and places along a side, a table of `count` places has: those nearest to `grid`."""
    if grid[1:] == (1, 1):
        return count, 1
    if grid[0] == 1:
        return 1, math.isqrt(count)
    fitting = [number for number in range(1, count + 1) if count % number == 0 and _is_square(count // number)]
    moments = min(fitting, key=lambda number: (abs(math.log(number / grid[0])), number), default=1)
    return moments, math.isqrt(count // moments)


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
