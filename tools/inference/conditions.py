"""Changes clips so that a part of what they show is gone: their order, their motion, or what stands still.

Clips are pixels (N, V, C, T, H, W), V views of N videos, before anything is normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

SINGLE = 8  # frames of a clip that are shown one by one, at most
CHANGE = 24  # of a pixel's brightest channel, in 0..255, from which on it moves
GROWN = 5  # pixels along a side of the square that each moving pixel becomes, which holds its edges
MOVING = (0.002, 0.5)  # shares of a clip's pixels that move, between which its background can be separated
TIME = 3  # axis of T


def shuffled(clips: Tensor, rows: Sequence[int]) -> Tensor:
    """Puts the frames of each video into another order, which follows from its row in the list."""
    found = clips.clone()
    for place, row in enumerate(rows):
        found[place] = clips[place].index_select(TIME - 1, torch.from_numpy(_order(row, clips.shape[TIME])))
    return found


def _order(row: int, length: int) -> np.ndarray:
    """Draws an order that is neither the one of time nor its reverse; of two frames it can only be the reverse."""
    rng = np.random.default_rng([row, length])
    plain = np.arange(length)
    order = rng.permutation(plain)
    while (order == plain).all() or (length > 2 and (order == plain[::-1]).all()):
        order = rng.permutation(plain)
    return order


def reversed_time(clips: Tensor, rows: Sequence[int]) -> Tensor:
    """Shows the last frame first."""
    return clips.flip(TIME)


def frozen(clips: Tensor, rows: Sequence[int]) -> Tensor:
    """Shows the middle frame all the time."""
    return still(clips, clips.shape[TIME] // 2)


def still(clips: Tensor, frame: int) -> Tensor:
    """Shows one frame all the time."""
    return clips.narrow(TIME, frame, 1).expand_as(clips)


def single_frames(length: int) -> list[int]:
    """Returns which frames of a clip are shown one by one: all, or evenly spaced ones of a long clip."""
    count = min(length, SINGLE)
    return [int((place + 0.5) * length / count) for place in range(count)]


def half_speed(clips: Tensor, rows: Sequence[int]) -> Tensor:
    """Shows the middle half of the clip, each frame twice."""
    length = clips.shape[TIME]
    return clips.index_select(TIME, length // 4 + torch.arange(length) // 2)


def double_speed(clips: Tensor, rows: Sequence[int]) -> Tensor:
    """Shows every second frame, and then the others: the clip runs through twice."""
    length = clips.shape[TIME]
    return clips.index_select(TIME, torch.cat([torch.arange(0, length, 2), torch.arange(1, length, 2)]))


def background(clips: Tensor) -> Tensor:
    """Returns what stands still, the median of each pixel over time, (N, V, C, 1, H, W)."""
    return clips.median(TIME, keepdim=True).values


def moving(clips: Tensor, behind: Tensor) -> Tensor:
    """Tells which pixels differ from the background, or lie beside one that does: bool (N, V, 1, T, H, W)."""
    differs = (clips.float() - behind.float()).abs().amax(2, keepdim=True) > CHANGE
    grown = torch.nn.functional.max_pool2d(differs.flatten(0, 3).float(), GROWN, stride=1, padding=GROWN // 2)
    return grown.view(differs.shape) > 0


def separable(mask: Tensor) -> Tensor:
    """Tells in which videos the background can be separated from what moves, bool (N,).

    It cannot where the camera moves, which moves everything, or where hardly anything does.
    """
    share = mask.float().flatten(1).mean(1)
    return (share >= MOVING[0]) & (share <= MOVING[1])


def in_front_of(clips: Tensor, mask: Tensor, other: Tensor) -> Tensor:
    """Puts what moves in front of another background (N, 1, C, 1, H, W)."""
    return torch.where(mask, clips, other.to(clips.dtype))


CONDITIONS: Mapping[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "shuffled": shuffled,
    "reversed": reversed_time,
    "frozen": frozen,
    "half speed": half_speed,
    "double speed": double_speed,
}
