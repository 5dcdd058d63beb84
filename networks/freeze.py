"""What training leaves alone: batch norms, and parts of a network by name."""

from __future__ import annotations

from collections.abc import Sequence

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


def freeze_parts(module: nn.Module, prefixes: Sequence[str]) -> int:
    """Fixes every parameter, and the statistics of every batch norm, whose name begins with one of the prefixes.

    A prefix ends at a dot: backbone.layer1 is not backbone.layer10. Returns how many parameters were frozen.
    Raises: ConfigError for a prefix that names nothing.
    """
    count = 0
    for prefix in prefixes:
        found = [parameter for name, parameter in module.named_parameters() if begins(name, prefix)]
        if not found:
            parts = sorted({name.split(".")[0] for name, _ in module.named_parameters()})
            raise ConfigError(f"common.freeze: no parameter's name begins with {prefix!r}; names begin with {parts}")
        for parameter in found:
            parameter.requires_grad_(False)
        count += len(found)
        for name, part in module.named_modules():
            if begins(name, prefix) and isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.frozen = True  # type: ignore[assignment]
                part.eval()
    return count


def begins(name: str, prefix: str) -> bool:
    """Whether a dotted name is `prefix` or lies below it."""
    return name == prefix or name.startswith(f"{prefix}.")
