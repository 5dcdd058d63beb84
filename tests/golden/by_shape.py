"""Gives a network weights that depend on their shapes alone, so that two codes of one network get the same."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn


def draw(*shape: int) -> Tensor:
    """Draws normal numbers, the same for every tensor of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(str(shape).encode())))


def fill_by_shape(net: nn.Module) -> None:
    """Fills convolutions, norms and linear layers, and the parameters of other modules."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            size = module.num_features
            module.weight.data, module.bias.data = 1 + 0.1 * draw(size), 0.1 * draw(size, 1)[:, 0]
            module.running_mean, module.running_var = 0.1 * draw(size, 2)[:, 0], 1 + draw(size, 3)[:, 0].abs()
        elif isinstance(module, nn.LayerNorm):
            size = module.normalized_shape[0]
            module.weight.data, module.bias.data = 1 + 0.1 * draw(size), 0.1 * draw(size, 1)[:, 0]
        elif isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            shape = tuple(module.weight.shape)
            module.weight.data = draw(*shape) * (2 / module.weight[0].numel()) ** 0.5
            if module.bias is not None:
                module.bias.data.fill_(0.01)
        else:
            for parameter in module.parameters(recurse=False):
                parameter.data = 0.1 * draw(*parameter.shape)


def keys_of(net: nn.Module) -> int:
    """Returns the CRC-32 of the sorted keys of a state dict and their shapes, one `key (shape)` a line."""
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in net.state_dict().items())
    return zlib.crc32("\n".join(lines).encode())
