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
    unit: frames and side in pixels of one place.
    way: nearest: the nearest entries. smooth: bicubic for each moment, then linear over moments.
    """

    grid: Grid
    first: int = 0
    unit: tuple[int, int] = (1, 1)
    way: Literal["nearest", "smooth"] = "smooth"


@runtime_checkable
class HasTables(Protocol):
    """A network with learned tables of places."""

    def tables(self) -> Mapping[str, Places]:
        """Returns its tables by the names of the modules that hold them."""
        ...


def fit_tables(
    network: nn.Module,
    found: Mapping[str, Tensor],
    prefix: str = "",
    *,
    frames: int | None = None,
    side: int | None = None,
) -> dict[str, Tensor]:
    """Returns the tables in `found` that are for clips of another size than the network's, resized to it.

    frames, side: of the clips that the tables are for, the side in pixels; None if nobody knows.

    Tables are for square pictures; one that is not stays out of the answer, and so does one of another width.
    """
    resized: dict[str, Tensor] = {}
    for name, places in network.tables().items() if isinstance(network, HasTables) else ():
        key, own = f"{prefix}{name}.weight", network.get_parameter(f"{name}.weight")
        table = found.get(key)
        if table is None or table.shape[1:] != own.shape[1:]:
            continue
        if table.shape == own.shape and not _is_split_otherwise(places, frames):
            continue
        if (value := _resized(table, places, frames=frames, side=side)) is not None:
            resized[key] = value
    return resized


def _is_split_otherwise(places: Places, frames: int | None) -> bool:
    """Tells whether a table with as many places as the network's is for clips of another length, so of another size."""
    both = places.grid[0] > 1 and places.grid[1:] != (1, 1)
    return both and frames is not None and frames // places.unit[0] != places.grid[0]


def _resized(table: Tensor, places: Places, *, frames: int | None = None, side: int | None = None) -> Tensor | None:
    first, rest = table[: places.first], table[places.first :]
    moments, across = _grid_of(len(rest), places, frames, side)
    if not (moments and across) or across * across * moments != len(rest):
        return None
    maps = rest.float().unflatten(0, (moments, across, across)).permute(0, 3, 1, 2)  # (T', D, H', W')
    space, time = ("nearest", "nearest") if places.way == "nearest" else ("bicubic", "linear")
    if maps.shape[2:] != places.grid[1:]:
        maps = nn.functional.interpolate(maps, places.grid[1:], mode=space)
    if moments != places.grid[0]:
        rows = maps.flatten(1).T[None]  # (1, D * H' * W', T')
        maps = nn.functional.interpolate(rows, places.grid[0], mode=time)[0].T.unflatten(1, maps.shape[1:])
    return torch.cat([first, maps.permute(0, 2, 3, 1).flatten(0, 2).to(table.dtype)])


def _grid_of(count: int, places: Places, frames: int | None, side: int | None) -> tuple[int, int]:
    """Returns how many moments, and places along a side, a table of `count` places has, if pictures are square at all.

    The frames of its clips say so, or the side of their pictures. Where nobody knows them, the pictures are as large as
    the network's, or else its clips are as long.
    """
    moments, across, columns = places.grid
    if (across, columns) == (1, 1):
        return count, 1
    if moments > 1 and frames is not None:
        moments = frames // places.unit[0]
    elif moments > 1:
        sides = [*([side // places.unit[1]] if side else []), across]
        moments = next((count // number**2 for number in sides if number and count % number**2 == 0), moments)
    return moments, math.isqrt(count // max(moments, 1))
