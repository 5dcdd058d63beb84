"""Inflates the weights of a 2-D image ResNet, so that a 3-D ResNet can start from them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from utils.errors import CheckpointError


def inflate(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Inflates image weights to the given 3-D shapes and returns every entry that both have.

    A kernel (O, I, h, w) is repeated over t frames and divided by t (Carreira and Zisserman 2017, arXiv 1705.07750). So
    a clip of equal frames gives the same features as the image, away from the zero padding at both ends of the clip.
    Input channels that only the 3-D network has (SlowFast's lateral connections, after the others) get zeros.

    Raises: CheckpointError that names the first entry that does not fit.
    """
    inflated = {}
    for key, value in state.items():
        if key not in shapes:
            continue
        shape = shapes[key]
        inflated[key] = _inflate_kernel(value, shape) if value.ndim == 4 and len(shape) == 5 else value
        if inflated[key].shape != shape:
            raise CheckpointError(f"{key}: image weights {tuple(value.shape)} do not inflate to {tuple(shape)}")
    return inflated


def _inflate_kernel(kernel: Tensor, shape: torch.Size) -> Tensor:
    extra, frames = shape[1] - kernel.shape[1], shape[2]
    if extra > 0:
        kernel = torch.cat([kernel, kernel.new_zeros(kernel.shape[0], extra, *kernel.shape[2:])], dim=1)
    return kernel.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
