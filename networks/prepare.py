"""Prepares a network for training: freezes batch norms and parts by name, and sets the memory layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # dimensions of a parameter -> its format


def freeze_bn(module: nn.Module, *, keep_first: bool) -> int:
    """Freezes the statistics and the affine parameters of every batch norm, and returns how many were frozen.

    A frozen layer is marked `frozen`, and `Method.train` keeps it in evaluation mode.

    keep_first: leave the first one as it is, which is partial BN (TSN, Wang et al. 2016, arXiv 1608.00859, sec. 3.2).
    Raises: ValueError if the network has no batch norm.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ValueError("this network has no batch norm to freeze")
    frozen = norms[1:] if keep_first else norms
    for norm in frozen:
        _keep_statistics(norm)
        for parameter in norm.parameters():
            parameter.requires_grad_(False)
    return len(frozen)


def freeze_parts(module: nn.Module, prefixes: Sequence[str]) -> int:
    """Freezes the parts whose names begin with one of the prefixes, and returns how many parameters were frozen.

    Their parameters and the statistics of their batch norms stay as they are. A prefix ends at a dot: backbone.layer1
    does not include backbone.layer10.

    Raises: ValueError if no parameter's name begins with a prefix.
    """
    count = 0
    for prefix in prefixes:
        found = [parameter for name, parameter in module.named_parameters() if _begins(name, prefix)]
        if not found:
            parts = sorted({name.split(".")[0] for name, _ in module.named_parameters()})
            raise ValueError(f"no parameter's name begins with {prefix!r}; names begin with {', '.join(parts)}")
        for parameter in found:
            parameter.requires_grad_(False)
        count += len(found)
        for name, part in module.named_modules():
            if _begins(name, prefix) and isinstance(part, nn.modules.batchnorm._BatchNorm):
                _keep_statistics(part)
    return count


def freeze_all_but(module: nn.Module, path: str) -> None:
    """Freezes everything outside of one part for good, as `freeze_whole` does: a linear probe of a whole network."""
    for name, parameter in module.named_parameters():
        if not _begins(name, path):
            parameter.requires_grad_(False)
    for name, part in module.named_modules():
        if not _begins(name, path) and not any(part.children()):
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                _keep_statistics(part)
            part.frozen = True
            part.eval()


def freeze_base(module: nn.Module, is_base: Callable[[str], bool]) -> None:
    """Freezes the parts and parameters whose names `is_base` knows, for good, as `freeze_whole` does.

    Raises: ValueError if it knows none.
    """
    found = [parameter for name, parameter in module.named_parameters() if is_base(name)]
    if not found:
        raise ValueError("this method has no image network under added parts; take [all], or names of parts")
    for parameter in found:
        parameter.requires_grad_(False)
    for name, part in module.named_modules():
        if name and all(is_base(f"{name}.{inner}".rstrip(".")) for inner, _ in part.named_modules()):
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                _keep_statistics(part)
            part.frozen = True
            part.eval()


def freeze_whole(part: nn.Module) -> None:
    """Freezes a part for good: no parameter learns, no norm counts, and `Method.train` leaves it in evaluation mode."""
    part.requires_grad_(False)
    for module in part.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            _keep_statistics(module)
    part.frozen = True  # type: ignore[assignment]
    part.eval()


def _keep_statistics(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Makes a batch norm use its running statistics as they are from now on."""
    norm.frozen = True  # type: ignore[assignment]
    norm.track_running_stats = False  # else torch's update_bn, which precise_bn uses, would set them to 0 and 1
    norm.eval()


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def to_channels_last(module: nn.Module) -> None:
    """Stores every 4-D and 5-D parameter with its channels innermost, in place; the values stay the same."""
    for parameter in module.parameters():
        if parameter.dim() in CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.dim()])
