"""Makes networks with random weights in less time: large tensors repeat one block of random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

BLOCK = 10_007  # a prime, so that filters of a layer differ


@contextmanager
def repeated_blocks() -> Iterator[None]:
    """Replaces the two functions that torch.nn.init draws with, which take most of the time of making a network."""
    drawn = {name: getattr(Tensor, name) for name in ("uniform_", "normal_")}
    for name, draw in drawn.items():
        setattr(Tensor, name, _repeating(draw))
    try:
        yield
    finally:
        for name, draw in drawn.items():
            setattr(Tensor, name, draw)


def _repeating(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def fill(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if tensor.is_meta:
            return tensor
        plain = tensor.device.type == "cpu" and tensor.is_contiguous() and type(tensor) in (Tensor, torch.nn.Parameter)
        if tensor.numel() < 2 * BLOCK or not plain:
            return draw(tensor, *arguments, **options)
        block = draw(torch.empty(BLOCK, dtype=tensor.dtype), *arguments, **options)
        with torch.no_grad():
            flat = tensor.view(-1)
            whole = len(flat) // BLOCK
            flat[: whole * BLOCK].view(whole, BLOCK).copy_(block)
            flat[whole * BLOCK :].copy_(block[: len(flat) - whole * BLOCK])
        return tensor

    return fill
