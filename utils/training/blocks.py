"""Finds the blocks that a network repeats: what is computed again, or shared out, at a time."""

from __future__ import annotations

from collections import Counter

from torch import nn

WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.Linear)


def blocks_of(network: nn.Module) -> dict[str, nn.Module]:
    """Returns the repeated blocks of a network by their names: residual blocks, Inception blocks, transformer blocks.

    They are items of a Sequential or a ModuleList, of a kind that the network has more than once there, with more than
    one convolution or linear layer each. Of blocks inside of stages, the blocks count.
    """
    items = {
        f"{name}.{key}".removeprefix("."): child
        for name, module in network.named_modules()
        if isinstance(module, (nn.Sequential, nn.ModuleList))
        for key, child in module.named_children()
        if not isinstance(child, (nn.Sequential, nn.ModuleList))
        and sum(isinstance(part, WEIGHTED) for part in child.modules()) > 1
    }
    kinds = Counter(type(child) for child in items.values())
    repeated = {name: child for name, child in items.items() if kinds[type(child)] > 1}
    return {
        name: block for name, block in repeated.items() if not any(other.startswith(f"{name}.") for other in repeated)
    }
