"""MobileNetV2 for single frames: torchvision's module with the seed's arguments."""

from __future__ import annotations

from torchvision.models.mobilenetv2 import MobileNetV2

from utils.errors import ConfigError

# expansion (None: the `t` argument), channels, blocks, stride (Sandler et al. 2018, arXiv 1801.04381, table 2)
STAGES: tuple[tuple[int | None, int, int, int], ...] = (
    (1, 16, 1, 1),
    (None, 24, 2, 2),
    (None, 32, 3, 2),
    (None, 64, 4, 2),
    (None, 96, 3, 1),
    (None, 160, 3, 2),
    (None, 320, 1, 1),
)


def mobilenet_v2(*, t: int = 6, scale: float = 1.0, input_size: int = 224) -> MobileNetV2:
    """Random weights, 1000 classes.

    t: expansion factor of every block but the first; 6 is torchvision's network. It has nothing to do with time.
    scale: multiplier of all widths.
    input_size: side of the square frames; a multiple of 32, because five strides halve it.

    Raises: ConfigError for a value that makes no network.
    """
    where = "common.model.kwargs"
    if t < 1:
        raise ConfigError(f"{where}.t: the expansion factor should be at least 1, but is {t}")
    if scale <= 0:
        raise ConfigError(f"{where}.scale: the width multiplier should be above 0, but is {scale}")
    if input_size < 32 or input_size % 32:
        raise ConfigError(f"{where}.input_size: should be a multiple of 32, but is {input_size}")
    setting = [[t if expansion is None else expansion, *stage] for expansion, *stage in STAGES]
    return MobileNetV2(width_mult=scale, inverted_residual_setting=setting)
