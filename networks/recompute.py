"""Lets the blocks of a network compute their activations again in the backward pass instead of keeping them.

Memory then holds the input of each block and the activations of one block (Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from utils.training.blocks import blocks_of


class Recomputed(nn.Module):
    """Keeps nothing of its forward pass in training but the input. `recompute_blocks` puts this in front of a class."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Runs the block; the backward pass runs it again, with the same random numbers."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs, **named)

        def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
            return contextlib.nullcontext(), _untracked(self)

        return checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=contexts, **named)


@contextlib.contextmanager
def _untracked(block: nn.Module) -> Iterator[None]:
    """Lends batch norms copies of their running statistics: these follow a batch once, not once for each pass."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    own = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        norm._buffers.update({name: buffer if buffer is None else buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            norm._buffers.update(buffers)


def recompute_blocks(network: nn.Module) -> None:
    """Makes every block of a network a `Recomputed` one, in place; names, weights and hooks stay.

    Raises: ValueError if the network has no repeated blocks.
    """
    blocks = blocks_of(network)
    if not blocks:
        raise ValueError("this network has no repeated blocks that could be computed again; set it to False")
    kinds = {kind: type(kind.__name__, (Recomputed, kind), {}) for kind in map(type, blocks.values())}
    for block in blocks.values():
        block.__class__ = kinds[type(block)]


def recomputed_blocks(network: nn.Module) -> list[str]:
    """Returns the names of the blocks that are computed again."""
    return [name for name, module in network.named_modules() if isinstance(module, Recomputed)]
