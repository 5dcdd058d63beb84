"""Makes random weights that behave like trained ones, for checks that need a network but no training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base import Method

SILENT = 1e-3  # a parameter of smaller values hides what is behind it
STD, FEW = 0.1, 100  # of new weights, and for how many inputs at most they have it


@torch.no_grad()
def liven(method: Method, clips: Tensor) -> None:
    """Gives norms the statistics of their inputs and the head large weights, so that scores depend on the picture.

    clips: (N, C, T, H, W), shown once in training mode; the method stays in that mode.
    """
    norms = [module for module in method.modules() if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d))]
    for norm in norms:
        norm.momentum = 1.0
    method.train()(clips)
    for name, value in method.named_parameters():
        if name.startswith(method.head_prefix):
            value.copy_(torch.randn_like(value))


@torch.no_grad()
def stir(method: nn.Module) -> None:
    """Moves parameters away from a start at zero: closed gates, silent branches, small layer scales.

    However many inputs a weight adds up, it moves its output no further than a hundred of them would: gates that are
    driven to their ends amplify the rounding of all that is before them until nothing can be compared.
    """
    for name, value in method.named_parameters():
        if float(value.abs().max()) < SILENT:
            inputs = value[0].numel() if value.dim() > 1 and name.endswith("weight") else 1
            nn.init.normal_(value, std=min(STD, STD * FEW / inputs))
