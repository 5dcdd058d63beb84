"""RandAugment (Cubuk et al. 2019, arXiv 1909.13719) with torchvision's table of operations or timm's, drawn per clip.

The operations are torchvision's own v2 functions, or Pillow's by them, which timm takes; what is drawn, and from which
generator, is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from utils.errors import ConfigError

_BINS = 31  # magnitudes are 0..30; the paper and torchvision default to 9


def _affine(
    image: Tensor, *, turn: float = 0.0, move: Sequence[float] = (0, 0), shear: Sequence[float] = (0, 0)
) -> Tensor:
    # shears of the paper turn around the corner, rotations around the centre
    return F.affine(
        image,
        angle=turn,
        translate=list(move),
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.NEAREST,
        fill=None,
        center=[0, 0] if any(shear) else None,
    )


def _degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


# name -> (largest magnitude, drawn with a sign, what it does to uint8 (T, 3, H, W) at magnitude m)
OPERATIONS: dict[str, tuple[float, bool, Callable[[Tensor, float], Tensor]]] = {
    "identity": (0.0, False, lambda x, m: x),
    "shear_x": (0.3, True, lambda x, m: _affine(x, shear=(_degrees(m), 0))),
    "shear_y": (0.3, True, lambda x, m: _affine(x, shear=(0, _degrees(m)))),
    "translate_x": (150 / 331, True, lambda x, m: _affine(x, move=(int(m * x.shape[-1]), 0))),
    "translate_y": (150 / 331, True, lambda x, m: _affine(x, move=(0, int(m * x.shape[-2])))),
    "rotate": (30.0, True, lambda x, m: F.rotate(x, m, interpolation=InterpolationMode.NEAREST)),
    "brightness": (0.9, True, lambda x, m: F.adjust_brightness(x, 1 + m)),
    "color": (0.9, True, lambda x, m: F.adjust_saturation(x, 1 + m)),
    "contrast": (0.9, True, lambda x, m: F.adjust_contrast(x, 1 + m)),
    "sharpness": (0.9, True, lambda x, m: F.adjust_sharpness(x, 1 + m)),
    "posterize": (4.0, False, lambda x, m: F.posterize(x, 8 - round(m))),
    "solarize": (1.0, False, lambda x, m: F.solarize(x, 255 * (1 - m))),
    "autocontrast": (0.0, False, lambda x, m: F.autocontrast(x)),
    "equalize": (0.0, False, lambda x, m: F.equalize(x)),
}
_TABLE = list(OPERATIONS.values())

# --- timm's table, as PySlowFast, VideoMAE, UniFormer and V-JEPA 2 use it: `rand-m7-n4-mstd0.5-inc1`

LEVELS = 10  # its magnitudes are 0..10
CHANCE = 0.5  # of each operation to be carried out
GREY = [128] * 3  # of what a clip that is moved leaves empty
SPEC = re.compile(r"rand((?:-(?:m\d+|n\d+|mstd\d+(?:\.\d+)?|inc1))*)")


def _moved(image: Tensor, *, move: Sequence[float] = (0, 0), shear: Sequence[float] = (0, 0)) -> Tensor:
    """Moves pixels from (x + move, y + move), or shears around the corner, with grey where nothing is left."""
    degrees = [_degrees(slope) for slope in shear]
    return F.affine(
        image,
        angle=0.0,
        translate=[-float(step) for step in move],
        scale=1.0,
        shear=degrees,
        interpolation=InterpolationMode.BILINEAR,
        fill=GREY,
        center=[0, 0],
    )


def _solarize(image: Tensor, threshold: float) -> Tensor:
    return image if threshold > 255 else F.solarize(image, int(threshold))


def _brighten_dark(image: Tensor, add: float) -> Tensor:
    return torch.where(image < 128, image + int(add), image)  # at most 127 + 110


Strength = Callable[[float, float, bool], float]  # of a level 0..1, a sign, and whether more is stronger


def _enhanced(level: float, sign: float, increasing: bool) -> float:
    return 1 + sign * level * 0.9 if increasing else level * 1.8 + 0.1


def _nothing(level: float, sign: float, increasing: bool) -> float:
    return 0.0


# name -> (the strength of a level, what it does to uint8 (T, 3, H, W) at that strength)
TIMM_OPERATIONS: dict[str, tuple[Strength, Callable[[Tensor, float], Tensor]]] = {
    "auto_contrast": (_nothing, lambda x, m: F.autocontrast(x)),
    "equalize": (_nothing, lambda x, m: F.equalize(x)),
    "invert": (_nothing, lambda x, m: F.invert(x)),
    "rotate": (
        lambda level, sign, _: sign * level * 30,
        lambda x, m: F.rotate(x, m, interpolation=InterpolationMode.BILINEAR, fill=GREY),
    ),
    "posterize": (
        lambda level, sign, more: 4 - int(level * 4) if more else int(level * 4),
        lambda x, m: F.posterize(x, int(m)),
    ),
    "solarize": (lambda level, sign, more: 256 - int(level * 256) if more else int(level * 256), _solarize),
    "solarize_add": (lambda level, sign, _: int(level * 110), _brighten_dark),
    "color": (_enhanced, F.adjust_saturation),
    "contrast": (_enhanced, F.adjust_contrast),
    "brightness": (_enhanced, F.adjust_brightness),
    "sharpness": (_enhanced, F.adjust_sharpness),
    "shear_x": (lambda level, sign, _: sign * level * 0.3, lambda x, m: _moved(x, shear=(m, 0))),
    "shear_y": (lambda level, sign, _: sign * level * 0.3, lambda x, m: _moved(x, shear=(0, m))),
    "translate_x": (lambda level, sign, _: sign * level * 0.45, lambda x, m: _moved(x, move=(m * x.shape[-1], 0))),
    "translate_y": (lambda level, sign, _: sign * level * 0.45, lambda x, m: _moved(x, move=(0, m * x.shape[-2]))),
}
_STRENGTHS = [entry[0] for entry in TIMM_OPERATIONS.values()]
_DO = [entry[2] for entry in _TABLE] + [entry[1] for entry in TIMM_OPERATIONS.values()]


@dataclass(frozen=True)
class RandAugment:
    """Says what is drawn for a clip.

    operations: of each clip, drawn with replacement. magnitude: of each, 0..30 in torchvision's table, 0..10 in timm's.
    timm: whether the operations are timm's, each carried out with a chance of a half, its magnitude drawn anew from a
        normal distribution of the standard deviation `noise`. increasing: whether more magnitude is always stronger.
    """

    operations: int
    magnitude: int
    timm: bool = False
    noise: float = 0.0
    increasing: bool = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Draws for (V, F) clips or frames: which operations, int64 (V, F, n), and their strengths, float32."""
        size = (*shape, self.operations)
        chosen = rng.integers(len(TIMM_OPERATIONS) if self.timm else len(_TABLE), size=size)
        signs = rng.choice([-1.0, 1.0], size=size)
        if not self.timm:
            largest = np.array([entry[0] for entry in _TABLE])[chosen]
            signed = np.array([entry[1] for entry in _TABLE])[chosen]
            strength = largest * self.magnitude / (_BINS - 1)
            return chosen, np.where(signed, signs * strength, strength).astype(np.float32)
        levels = rng.normal(self.magnitude, self.noise, size).clip(0, LEVELS) / LEVELS
        done = rng.random(size) < CHANCE
        drawn = zip(chosen.ravel(), levels.ravel(), signs.ravel(), strict=True)
        strengths = [_STRENGTHS[operation](level, sign, self.increasing) for operation, level, sign in drawn]
        # the first operation of torchvision's table does nothing
        return np.where(done, chosen + len(_TABLE), 0), np.array(strengths, np.float32).reshape(size)


def checked(value: bool | str | Sequence[int] | None) -> RandAugment | None:
    """Returns what a config value says, None if it is off; True is torchvision's [2, 9].

    Raises: ConfigError for other numbers, and for another text than `rand-m7-n4-mstd0.5-inc1` with other numbers.
    """
    if not value:
        return None
    if isinstance(value, str):
        return _of_spec(value)
    pair = (2, 9) if value is True else tuple(value)
    if len(pair) != 2 or pair[0] < 1 or not 0 <= pair[1] < _BINS:
        raise ConfigError(f"augmentation.rand_augment: {value} must be [operations, magnitude 0..{_BINS - 1}] or True")
    return RandAugment(int(pair[0]), int(pair[1]))


def _of_spec(text: str) -> RandAugment:
    match = SPEC.fullmatch(text)
    given = dict(re.findall(r"-([a-z]+)([\d.]+)", match[1])) if match else {}
    operations, magnitude, noise = int(given.get("n", 2)), int(given.get("m", LEVELS)), float(given.get("mstd", 0))
    if match is None or not 1 <= operations <= 16 or magnitude > LEVELS or noise > LEVELS:
        raise ConfigError(
            f"augmentation.rand_augment: {text!r} should be as timm writes it, rand-m7-n4-mstd0.5-inc1: magnitude m "
            f"0..{LEVELS}, n operations up to 16, the noise mstd of the magnitude, and inc1 or nothing"
        )
    return RandAugment(operations, magnitude, timm=True, noise=noise, increasing="inc" in given)


def apply(clips: Tensor, chosen: Tensor, magnitudes: Tensor) -> Tensor:
    """Carries out what was drawn on uint8 (M, T, H, W, 3). Reads the small parameters back to the host."""
    out = torch.empty_like(clips)
    for index, clip in enumerate(clips.permute(0, 1, 4, 2, 3)):  # T,C,H,W
        pieces = [clip] if chosen.shape[1] == 1 else list(clip[:, None])
        drawn = zip(chosen[index].tolist(), magnitudes[index].tolist(), strict=True)
        done = [_apply_all(piece, *choice) for piece, choice in zip(pieces, drawn, strict=True)]
        out[index] = torch.cat(done).permute(0, 2, 3, 1)
    return out


def _apply_all(frames: Tensor, operations: Sequence[int], strengths: Sequence[float]) -> Tensor:
    for operation, strength in zip(operations, strengths, strict=True):
        frames = _DO[operation](frames, strength)
    return frames
