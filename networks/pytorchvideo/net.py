"""Puts the parts of PyTorchVideo's networks together: one behind the other, or several pathways side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from networks.clip.resnet3d import init_resnet3d
from utils.config.build import ArgumentError


class Net(nn.Module):
    """Applies blocks one behind the other, and draws all their weights when it is made.

    Convolutions are initialised by Kaiming (fan out), linear layers by N(0, 0.01). The scale of a norm whose attribute
    `block_final_bn` is true, the last one of a residual block, starts at zero.
    """

    def __init__(self, *, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.blocks = blocks
        init_resnet3d(self, zero_init_residual=False)
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module.bias is not None:
                nn.init.zeros_(module.bias)
            elif getattr(module, "block_final_bn", False) and module.weight is not None:
                nn.init.zeros_(module.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """Maps what the first block takes to what the last one returns."""
        for block in self.blocks:
            x = block(x)
        return x  # type: ignore[return-value]


class MultiPathWayWithFuse(nn.Module):
    """Applies one block to each pathway, and then lets the pathways see each other.

    multipathway_blocks: one for each pathway; None leaves its features as they are.
    multipathway_fusion: maps the features of all pathways to as many; None leaves it out.
    inplace: write the features into the list that is given.
    """

    def __init__(
        self,
        *,
        multipathway_blocks: nn.ModuleList,
        multipathway_fusion: nn.Module | None,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        self.multipathway_blocks = multipathway_blocks
        self.multipathway_fusion = multipathway_fusion
        self.inplace = inplace

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Maps the features of each pathway (B, C, T, H, W) to new ones.

        Raises: ArgumentError unless there is one tensor for each pathway.
        """
        pathways = len(self.multipathway_blocks)
        if not isinstance(x, (list, tuple)) or len(x) != pathways:
            raise ArgumentError(f"this network has {pathways} pathways: give a list with one clip for each of them")
        each = zip(self.multipathway_blocks, x, strict=True)
        found = [features if block is None else block(features) for block, features in each]
        if self.inplace and isinstance(x, list):
            x[:] = found
            found = x
        return found if self.multipathway_fusion is None else self.multipathway_fusion(found)


class PoolConcatPathway(nn.Module):
    """Pools the features of each pathway, and joins them.

    retain_list: return a list with the one tensor.
    pool: one module for each pathway, whose None is no pool; None pools nothing.
    dim: axis along which the features are joined.
    """

    def __init__(self, retain_list: bool = False, pool: nn.ModuleList | None = None, dim: int = 1) -> None:
        super().__init__()
        self.retain_list = retain_list
        self.pool = pool
        self.dim = dim

    def forward(self, x: Sequence[Tensor | None]) -> Tensor | list[Tensor]:
        """Maps features of the pathways to joined ones; a pathway that is None is left out.

        Raises: ArgumentError for another number of pathways than pools.
        """
        pools = [None] * len(x) if self.pool is None else [*self.pool]
        if len(pools) != len(x):
            raise ArgumentError(f"pool: has {len(pools)} pools for {len(x)} pathways")
        found = [y if pool is None else pool(y) for pool, y in zip(pools, x, strict=True) if y is not None]
        joined = torch.cat(found, self.dim)
        return [joined] if self.retain_list else joined
