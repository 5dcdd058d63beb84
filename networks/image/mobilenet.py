"""Builds MobileNetV2 for single frames: torchvision's module with the arguments of the original project."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from torchvision.models.mobilenetv2 import MobileNetV2

from utils.config.build import checked

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


@checked
def mobilenet_v2(
    *,
    t: PositiveInt = 6,
    scale: Annotated[float, Field(gt=0.0)] = 1.0,
    input_size: Annotated[int, Field(gt=0, multiple_of=32)] = 224,
) -> MobileNetV2:
    """Builds the network with random weights and 1000 classes.

    t: expansion factor of every block except the first; 6 is torchvision's network. It has nothing to do with time.
    scale: multiplier of all widths.
    input_size: side of the square frames; a multiple of 32, because five strides halve it.
    """
    setting = [[t if expansion is None else expansion, *stage] for expansion, *stage in STAGES]
    return MobileNetV2(width_mult=scale, inverted_residual_setting=setting)
