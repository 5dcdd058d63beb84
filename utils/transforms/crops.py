"""Decides where to cut and how large to resize: rules on numbers, one per published protocol. No pixels here.

A rule's `plan(height, width, size, rng)` is asked once per clip, so every frame of a clip is cut alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from utils.errors import ConfigError

Size = tuple[int, int]  # height, width
Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Plan:
    """The steps for each frame of one clip, in this order; None leaves a step out.

    before: the frame is resized to this size.
    box: a piece is cut.
    resize: that is resized.
    crops: pieces of the output size are cut at these (top, left), and mirrored where `mirrored` says so.
    """

    box: Box | None
    resize: Size
    crops: tuple[tuple[int, int], ...] = ((0, 0),)
    mirrored: tuple[bool, ...] = (False,)
    before: Size | None = None


class CropRule(Protocol):
    """Chooses a plan for frames of one size; `rng` is None where the rule is deterministic."""

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        """Returns the plan for all frames of one clip of this size."""
        ...


def short_side_size(height: int, width: int, short: int, *, rounding: str = "floor") -> Size:
    """Returns the size once the short side is `short`.

    The long side is rounded down (torchvision) or to nearest (mmaction2).
    """
    long = max(height, width) * short / min(height, width)
    long_side = math.floor(long) if rounding == "floor" else int(long + 0.5)
    return (short, long_side) if height <= width else (long_side, short)


def multi_scale_sizes(
    height: int, width: int, size: Size, *, scales: Sequence[float] = (1, 0.875, 0.75, 0.66), max_distort: int = 1
) -> list[Size]:
    """Returns the crop sizes of TSN's scale jittering (Wang et al. 2016, arXiv 1608.00859, sec. 3.2).

    The sides of the largest box with the shape of the output, for a square the shorter side, times each scale; the
    scales of height and width are at most `max_distort` places apart; a side within 2 pixels of the output is the
    output. Height varies slowest.
    """
    tall, wide = size
    flat = height * wide <= width * tall
    box = (height, height * wide / tall) if flat else (width * tall / wide, width)
    sides = ([max(1, int(side * scale)) for scale in scales] for side in box)
    heights, widths = (
        [out if abs(side - out) < 3 else side for side in row] for row, out in zip(sides, size, strict=True)
    )
    return [
        (min(h, height), min(w, width))
        for i, h in enumerate(heights)
        for j, w in enumerate(widths)
        if abs(i - j) <= max_distort
    ]


def fixed_offsets(height: int, width: int, crop: Size, *, count: int = 13) -> list[tuple[int, int]]:
    """Returns (top, left) of 5 (corners, centre) or 13 fixed places, in TSN's order.

    Places lie on a grid of quarter steps rounded down, so the last row or column can miss the border by up to 3 pixels.
    """
    y, x = (height - crop[0]) // 4, (width - crop[1]) // 4
    places = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    if count == 13:
        places += [(2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
    return [(row * y, column * x) for row, column in places]


_CENTRES: dict[str, Callable[[float], int]] = {"floor": math.floor, "round": round, "ceil": math.ceil}


def centre_offset(length: int, crop: int, rounding: str = "floor") -> int:
    """Returns the start of a centred piece.

    Half pixels go down (mmaction2), to even (torchvision, Pillow) or up (PySlowFast).
    """
    return _CENTRES[rounding]((length - crop) / 2)


@dataclass(frozen=True)
class MultiScale:
    """TSN's corner crop with scale jittering: one of the sizes, then one of the 5 or 13 places.

    before: short side that frames get first (mmaction2), None leaves them as they are.
    """

    scales: tuple[float, ...] = (1, 0.875, 0.75, 0.66)
    max_distort: int = 1
    places: int = 13
    before: int | None = None

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        """Draws a size, then a place."""
        rng = _required(rng, self)
        before = _before(height, width, self.before)
        height, width = before or (height, width)
        sizes = multi_scale_sizes(height, width, size, scales=self.scales, max_distort=self.max_distort)
        crop = sizes[rng.integers(len(sizes))]
        offsets = fixed_offsets(height, width, crop, count=self.places)
        return Plan(box=(*offsets[rng.integers(len(offsets))], *crop), resize=size, before=before)


def inception_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    scales: tuple[float, float],
    aspect: tuple[float, float],
    *,
    tries: int = 10,
    log_uniform: bool = True,
) -> Box:
    """Draws a share `scales` of the area and an aspect ratio until both fit into the frame, then a place.

    tries: draws before the largest centred piece with an allowed aspect is taken. log_uniform: draw the logarithm of
    the ratio.
    """
    low, high = (math.log(aspect[0]), math.log(aspect[1])) if log_uniform else aspect
    for _ in range(tries):
        area = height * width * rng.uniform(*scales)
        ratio = rng.uniform(low, high)
        ratio = math.exp(ratio) if log_uniform else ratio
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    ratio = min(max(width / height, aspect[0]), aspect[1])
    h, w = (height, round(height * ratio)) if width > height * ratio else (round(width / ratio), width)
    h, w = max(1, h), max(1, w)
    return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class RandomResized:
    """Inception's crop: a share `scales` of the area, aspect ratio log-uniform in `aspect` (torchvision's 10 tries).

    Of an output that is not square, `aspect` is relative to its shape.
    """

    scales: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    before: int | None = None

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        """Draws area and aspect until they fit, then a place."""
        rng = _required(rng, self)
        before = _before(height, width, self.before)
        height, width = before or (height, width)
        shape = size[1] / size[0]
        box = inception_box(height, width, rng, self.scales, (self.aspect[0] * shape, self.aspect[1] * shape))
        return Plan(box=box, resize=size, before=before)


@dataclass(frozen=True)
class ShortSide:
    """Cuts by SlowFast's scale jittering (Feichtenhofer et al. 2019, arXiv 1812.03982, sec. 4).

    The short side is resized to a random length in `scales`, then a random piece is cut.
    inverse: the length is uniform in 1 / length.
    """

    scales: tuple[int, int] = (256, 320)
    inverse: bool = False

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        """Draws a length, then a place."""
        rng = _required(rng, self)
        low, high = self.scales
        short = round(1 / rng.uniform(1 / high, 1 / low) if self.inverse else rng.uniform(low, high))
        return _random_crop(short_side_size(height, width, short), size, rng)


@dataclass(frozen=True)
class FixedResize:
    """Cuts as torchvision's video reference does.

    Frames become exactly `scales` (height, width), then a random piece is cut.
    """

    scales: tuple[int, int] = (128, 171)

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None) -> Plan:
        """Draws a place."""
        return _random_crop(self.scales, size, _required(rng, self))


TRAIN_CROPS: dict[str, type] = {
    "multi_scale": MultiScale,
    "random_resized": RandomResized,
    "short_side": ShortSide,
    "fixed_resize": FixedResize,
}


@dataclass(frozen=True)
class TestCrops:
    """Resize, then 1 (centre), 3, 5 (corners, centre) or 10 (those, each followed by its mirror image) pieces.

    resize: short side, (height, width) whatever the aspect, or None.
    rounding: of the long side, see `short_side_size`. centre: of half pixels, see `centre_offset`.
    three: "long_side" (PySlowFast: start, centre, end of the longer side), "mmaction2" (start, end, centre, on a
        floored step) or "full_res" (MIT: always left, right, centre, on a quarter step; where the crop is as wide as a
        portrait video, all three are the same).
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    resize: int | Size | None
    num_crops: int = 1
    rounding: str = "floor"
    centre: str = "round"
    three: str = "long_side"

    def __post_init__(self) -> None:
        if self.num_crops not in (1, 3, 5, 10):
            raise ConfigError(f"num_crops: {self.num_crops} is not one of 1, 3, 5, 10")

    def plan(self, height: int, width: int, size: Size, rng: np.random.Generator | None = None) -> Plan:
        """Returns the same plan every time; `rng` is not used."""
        if self.resize is None:
            resize = (height, width)
        elif isinstance(self.resize, int):
            resize = short_side_size(height, width, self.resize, rounding=self.rounding)
        else:
            resize = self.resize
        _check_fits(resize, size)
        if self.num_crops == 1:
            offsets = [(centre_offset(resize[0], size[0], self.centre), centre_offset(resize[1], size[1], self.centre))]
        elif self.num_crops == 3:
            offsets = _three_offsets(resize, size, self.three)
        else:
            offsets = fixed_offsets(*resize, size, count=5)
        mirrored = [False] * len(offsets)
        if self.num_crops == 10:
            offsets = [offset for offset in offsets for _ in range(2)]
            mirrored = [False, True] * 5
        return Plan(box=None, resize=resize, crops=tuple(offsets), mirrored=tuple(mirrored))


def _three_offsets(resize: Size, size: Size, rule: str) -> list[tuple[int, int]]:
    free = resize[0] - size[0], resize[1] - size[1]
    if rule == "full_res":
        return [(2 * (free[0] // 4), step * (free[1] // 4)) for step in (0, 4, 2)]
    long = int(resize[1] >= resize[0])  # the axis the crops move along
    if rule == "mmaction2":
        places, middle = [0, 2 * (free[long] // 2), free[long] // 2], free[1 - long] // 2
    else:
        places, middle = [0, math.ceil(free[long] / 2), free[long]], math.ceil(free[1 - long] / 2)
    return [(middle, place) if long else (place, middle) for place in places]


def _before(height: int, width: int, short: int | None) -> Size | None:
    if short is None or min(height, width) == short:
        return None
    return short_side_size(height, width, short, rounding="nearest")


def _random_crop(resize: Size, size: Size, rng: np.random.Generator) -> Plan:
    _check_fits(resize, size)
    offset = int(rng.integers(resize[0] - size[0] + 1)), int(rng.integers(resize[1] - size[1] + 1))
    return Plan(box=None, resize=resize, crops=(offset,))


def _check_fits(resize: Size, size: Size) -> None:
    if resize[0] < size[0] or resize[1] < size[1]:
        raise ConfigError(
            f"input_size {size[0]}x{size[1]} does not fit into frames of {resize[0]}x{resize[1]} (height x width): "
            f"lower input_size or raise the resize"
        )


def _required(rng: np.random.Generator | None, rule: object) -> np.random.Generator:
    if rng is None:
        raise ValueError(f"{type(rule).__name__} is a training crop and needs the sample's generator")
    return rng
