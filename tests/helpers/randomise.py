"""Norms away from their start."""

from __future__ import annotations

import torch
from torch import nn


def randomise(net: nn.Module) -> None:
    """So that no scale is one, and no shift or mean zero, by accident."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            for value, centre in ((module.weight, 0.5), (module.bias, 0.0), (module.running_mean, 0.0)):
                value.data.copy_(centre + 0.2 * torch.rand(value.shape, generator=generator))  # type: ignore[union-attr]


def wake(net: nn.Module) -> None:
    """Randomises a network, and draws what starts as zero in its backbone, so that nothing is without effect."""
    randomise(net)
    for parameter in net.backbone.parameters():  # type: ignore[union-attr, operator]
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
