"""Counts the parameters and multiply-adds of a network, on the meta device, without weights or data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_parameters(module: nn.Module) -> int:
    """Counts trainable and frozen parameters; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, shape: Sequence[int]) -> int:
    """Counts the multiply-adds of convolutions and matrix products for one input of `shape`, in eval mode.

    They are half of the floating-point operations; papers print them, divided by 1e9, as "GFLOPs". The module must be
    on the meta device and is left in the mode in which it was.
    """
    training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.empty(*shape, device="meta"))
    module.train(training)
    return int(counter.get_total_flops()) // 2
