"""Batch norm that training leaves alone."""

from __future__ import annotations

from torch import nn

from utils.errors import ConfigError


def freeze_bn(module: nn.Module, *, keep_first: bool) -> int:
    """Fixes the statistics and the affine parameters of every batch norm, or of all but the first (partial BN).

    Partial BN: TSN (Wang et al. 2016, arXiv 1608.00859, sec. 3.2). A frozen layer is marked `frozen`, and
    `Method.train` keeps it in evaluation mode. Returns how many were frozen.
    Raises: ConfigError for a network without batch norm.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ConfigError("common.frozen_bn, common.partial_bn: this network has no batch norm to freeze")
    frozen = norms[1:] if keep_first else norms
    for norm in frozen:
        norm.frozen = True  # type: ignore[assignment]
        norm.eval()
        for parameter in norm.parameters():
            parameter.requires_grad_(False)
    return len(frozen)
