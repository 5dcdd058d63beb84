"""Finds the convolution that reads the pixels, and makes it take optical flow or differences instead of RGB."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

RGB = 3


def replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    """Makes the first convolution of an RGB network, over images or clips, take `in_channels`, in place."""
    path, conv = next((path, part) for path, part in net.named_modules() if isinstance(part, nn.Conv2d | nn.Conv3d))
    new = type(conv)(
        in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(widen_input(conv.weight, in_channels))
        if conv.bias is not None and new.bias is not None:
            new.bias.copy_(conv.bias)
    parent, _, child = path.rpartition(".")
    setattr(net.get_submodule(parent), child, new)


def widen_input(weight: Tensor, in_channels: int) -> Tensor:
    """Widens an RGB kernel (out, 3, ...) to `in_channels` by repeating its mean over RGB.

    See TSN, arXiv 1608.00859, sec. 3.2.
    """
    return weight.mean(dim=1, keepdim=True).repeat_interleave(in_channels, dim=1)


def first_convolution(state: Mapping[str, Tensor]) -> str | None:
    """Returns the key of the kernel that reads the pixels: the first 4-D or 5-D entry that takes RGB, else the first.

    The order alone is not enough: the entries of a safetensors file are in alphabetical order.
    """
    kernels = {key: value for key, value in state.items() if re.search(r"weight$", key) and value.dim() in (4, 5)}
    return next((key for key, value in kernels.items() if value.shape[1] == RGB), next(iter(kernels), None))
