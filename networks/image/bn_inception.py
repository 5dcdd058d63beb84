"""Builds BN-Inception for single frames, under the names of tsn-pytorch, whose files TSN, TRN and GSM began from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(NamedTuple):
    """Holds the widths of a block (Ioffe and Szegedy 2015, arXiv 1502.03167, figure 5).

    one: of the 1x1 path; 0 in a block that halves the map, which has no such path. three: of the 3x3 path, reduced and
    at its end. double: the same of the path with two 3x3 convolutions. pooled: of what follows the pool; 0 keeps it.
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pooled: int


BLOCKS = {
    "3a": Block(64, (64, 64), (64, 96), 32),
    "3b": Block(64, (64, 96), (64, 96), 64),
    "3c": Block(0, (128, 160), (64, 96), 0),
    "4a": Block(224, (64, 96), (96, 128), 128),
    "4b": Block(192, (96, 128), (96, 128), 128),
    "4c": Block(160, (128, 160), (128, 160), 128),
    "4d": Block(96, (128, 192), (160, 192), 128),
    "4e": Block(0, (128, 192), (192, 256), 0),
    "5a": Block(352, (192, 320), (160, 224), 128),
    "5b": Block(352, (192, 320), (192, 224), 128),
}
LAST = [*BLOCKS][-1]  # its pool takes the maximum, as those that halve the map do


class BNInception(nn.Module):
    """Maps frames (N, 3, H, W) to 1000 image classes; H and W are multiples of 32.

    Attributes:
        branch_ends: of each block, the convolution whose output GSM and GSF gate, as their authors chose it, by the
            first one of its longest path.
    """

    branch_ends: ClassVar[Mapping[str, str]] = {
        f"inception_{name}_double_3x3_reduce": f"inception_{name}_{'1x1' if block.one else '3x3_reduce'}"
        for name, block in BLOCKS.items()
    }

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7, stride=2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        width = 192
        for name, block in BLOCKS.items():
            width = self._add_block(f"inception_{name}", width, block)
        self.fc = nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Maps frames (N, 3, H, W) to logits (N, 1000)."""
        x = _half(self._run("conv1_7x7_s2", x))
        x = _half(self._run("conv2_3x3", self._run("conv2_3x3_reduce", x)))
        for name, block in BLOCKS.items():
            x = self._run_block(name, block, x)
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits

    def _add(self, name: str, inner: int, outer: int, kernel: int, *, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(inner, outer, kernel, stride=stride, padding=kernel // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outer))

    def _add_block(self, name: str, inner: int, block: Block) -> int:
        """Adds the layers of a block; returns its width."""
        stride = 1 if block.one else 2
        if block.one:
            self._add(f"{name}_1x1", inner, block.one, 1)
        reduced, three = block.three
        self._add(f"{name}_3x3_reduce", inner, reduced, 1)
        self._add(f"{name}_3x3", reduced, three, 3, stride=stride)
        reduced, double = block.double
        self._add(f"{name}_double_3x3_reduce", inner, reduced, 1)
        self._add(f"{name}_double_3x3_1", reduced, double, 3)
        self._add(f"{name}_double_3x3_2", double, double, 3, stride=stride)
        if block.pooled:
            self._add(f"{name}_pool_proj", inner, block.pooled, 1)
        return block.one + three + double + (block.pooled or inner)

    def _run(self, name: str, x: Tensor) -> Tensor:
        return F.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

    def _run_block(self, name: str, block: Block, x: Tensor) -> Tensor:
        prefix = f"inception_{name}"
        paths = [self._run(f"{prefix}_1x1", x)] if block.one else []
        paths.append(self._run(f"{prefix}_3x3", self._run(f"{prefix}_3x3_reduce", x)))
        double = self._run(f"{prefix}_double_3x3_1", self._run(f"{prefix}_double_3x3_reduce", x))
        paths.append(self._run(f"{prefix}_double_3x3_2", double))
        if not block.pooled:
            paths.append(_half(x))
        else:
            pooled = F.max_pool2d(x, 3, 1, 1) if name == LAST else F.avg_pool2d(x, 3, 1, 1)
            paths.append(self._run(f"{prefix}_pool_proj", pooled))
        return torch.cat(paths, 1)


def _half(x: Tensor) -> Tensor:
    """Takes the maximum of 3x3 places, 2 apart; the last ones reach over the edge of a map of even size."""
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


def bn_inception() -> nn.Module:
    """Builds the network with random weights and 1000 classes."""
    return BNInception()
