"""2-D to 3-D inflation: the weights of an image ResNet as the start of a 3-D one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from utils.errors import CheckpointError


def inflate(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Image weights -> weights of the given 3-D shapes, for every entry that both have.

    A kernel (O, I, h, w) is repeated over t frames and divided by t (Carreira and Zisserman 2017, arXiv 1705.07750), so
    a clip whose frames are all alike gives what the image gives, away from the zero padding at the clip's ends. Input
    channels that only the 3-D network has (SlowFast's lateral connections, behind the others) get zeros.

    Raises: CheckpointError naming the first entry that does not fit.
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
