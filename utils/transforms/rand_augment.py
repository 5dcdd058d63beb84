"""RandAugment (Cubuk et al. 2019, arXiv 1909.13719) with torchvision's table of operations, drawn per clip.

The operations are torchvision's own v2 functions; only what is drawn, and from which generator, is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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


def checked(value: bool | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns (operations per clip, magnitude) of a config value, None if it is off; True is torchvision's [2, 9]."""
    if not value:
        return None
    pair = (2, 9) if value is True else tuple(value)
    if len(pair) != 2 or pair[0] < 1 or not 0 <= pair[1] < _BINS:
        raise ConfigError(f"augmentation.rand_augment: {value} must be [operations, magnitude 0..{_BINS - 1}] or True")
    return int(pair[0]), int(pair[1])


def draw(
    rng: np.random.Generator, shape: tuple[int, int], operations: int, magnitude: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws for (V, F) clips or frames: which operations, int64 (V, F, n), and their signed magnitudes, float32."""
    chosen = rng.integers(len(_TABLE), size=(*shape, operations))
    signs = rng.choice([-1.0, 1.0], size=chosen.shape)
    largest = np.array([entry[0] for entry in _TABLE])[chosen]
    signed = np.array([entry[1] for entry in _TABLE])[chosen]
    strength = largest * magnitude / (_BINS - 1)
    return chosen, np.where(signed, signs * strength, strength).astype(np.float32)


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
        frames = _TABLE[operation][2](frames, strength)
    return frames
