"""What a network costs: parameters and multiply-adds, counted on the meta device without weights or data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_parameters(module: nn.Module) -> int:
    """Trainable and frozen parameters; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds of convolutions and matrix products for one input of `shape`, in eval mode.

    This is what papers print as "GFLOPs" times 1e9: half of the floating-point operations. The module is left as it was
    but for its device: it must live on the meta device.
    """
    training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.empty(*shape, device="meta"))
    module.train(training)
    return int(counter.get_total_flops()) // 2
