"""Builds Inception v3 for single frames as tsn-pytorch has it, whose files TRN, GSM and GSF began from.

torchvision's network of this name has other constants: of norms, of the average pools, and of the order in which two
convolutions of a block follow each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Gates = Literal["gsm", "gsf"]


class Layer(NamedTuple):
    """Describes a convolution: its width, its kernel, and its stride; only with a stride of 1 it is padded."""

    width: int
    height: int = 1
    across: int = 1
    stride: int = 1


class Block(NamedTuple):
    """Describes a block (Szegedy et al. 2016, arXiv 1512.00567, figures 5 to 7 and 10).

    paths: by the beginning of their layers' names. split: paths that end in a convolution along each axis, side by
    side. pooled: width of the layer behind the average pool; 0 in a block that halves the map, whose pool is maximal.
    """

    paths: Mapping[str, list[Layer]]
    split: tuple[str, ...] = ()
    pooled: int = 0


def _small(pooled: int) -> Block:
    fine = [Layer(64), Layer(96, 3, 3), Layer(96, 3, 3)]
    return Block({"": [Layer(64)], "tower_": [Layer(48), Layer(64, 5, 5)], "tower_1_": fine}, pooled=pooled)


def _long(inner: int) -> Block:
    """Describes a block whose kernels of 7 x 7 are made of one along each axis."""
    tower = [Layer(inner), Layer(inner, 7, 1), Layer(192, 1, 7)]
    twice = [Layer(inner), Layer(inner, 1, 7), Layer(inner, 7, 1), Layer(inner, 1, 7), Layer(192, 7, 1)]
    return Block({"": [Layer(192)], "tower_": tower, "tower_1_": twice}, pooled=192)


def _wide() -> Block:
    paths = {"": [Layer(320)], "tower_": [Layer(384)], "tower_1_": [Layer(448), Layer(384, 3, 3)]}
    return Block(paths, split=("tower_", "tower_1_"), pooled=192)


STEM = [Layer(32, 3, 3, 2), Layer(32, 3, 3), Layer(64, 3, 3), Layer(80), Layer(192, 3, 3)]
UNPADDED = (1, 4)  # of the stem
POOLED = (2, 4)  # of the stem: a pool follows
HALVED = [Layer(64), Layer(96, 3, 3), Layer(96, 3, 3, 2)]
LONG_HALVED = [Layer(192), Layer(192, 7, 1), Layer(192, 1, 7), Layer(192, 3, 3, 2)]
BLOCKS = {
    "mixed": _small(32),
    "mixed_1": _small(64),
    "mixed_2": _small(64),
    "mixed_3": Block({"": [Layer(384, 3, 3, 2)], "tower_": HALVED}),
    "mixed_4": _long(128),
    "mixed_5": _long(160),
    "mixed_6": _long(160),
    "mixed_7": _long(192),
    "mixed_8": Block({"tower_": [Layer(192), Layer(320, 3, 3, 2)], "tower_1_": LONG_HALVED}),
    "mixed_9": _wide(),
    "mixed_10": _wide(),
}
LAST = [*BLOCKS][-1]  # its pool takes the maximum
WIDTH = 2048
SPLIT_WIDTH = 384


class InceptionV3(nn.Module):
    """Maps frames (N, 3, H, W) of at least 75 pixels to 1000 image classes; its files were trained on 229.

    gates: whose choice of convolutions is gated. GSM's authors leave `mixed_6` out, which `temporal.stages` says.

    Attributes:
        branch_ends: of each block, the convolution whose output GSM and GSF gate, by the first one of its longest path.
    """

    def __init__(self, *, gates: Gates = "gsf") -> None:
        super().__init__()
        self.gates = gates
        inner = 3
        for number, layer in enumerate(STEM):
            self.add_module(_numbered("conv", number), Unit(inner, layer, padded=number not in UNPADDED))
            inner = layer.width
        for name, block in BLOCKS.items():
            self.add_module(name, made := InceptionBlock(inner, block, largest=name == LAST))
            inner = made.width
        self.fc = nn.Linear(WIDTH, 1000)
        self.branch_ends: Mapping[str, str] = {
            f"{name}.{_longest(block)}.conv": f"{name}.{_gated(name, gates)}.conv" for name, block in BLOCKS.items()
        }

    def extra_repr(self) -> str:
        """Says where gates go, which the layers do not show."""
        return f"gates={self.gates}"

    def forward(self, x: Tensor) -> Tensor:
        """Maps frames (N, 3, H, W) to logits (N, 1000)."""
        for number in range(len(STEM)):
            x = self.get_submodule(_numbered("conv", number))(x)
            x = F.max_pool2d(x, 3, stride=2, ceil_mode=True) if number in POOLED else x
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class InceptionBlock(nn.Module):
    """Joins the paths of a block.

    inner: channels of its input. largest: whether a pool that keeps the size takes the maximum.

    Attributes:
        width: channels of its output.
    """

    def __init__(self, inner: int, block: Block, *, largest: bool) -> None:
        super().__init__()
        self.block, self.largest = block, largest
        self.width = block.pooled or inner
        for path, layers in block.paths.items():
            before = inner
            for number, layer in enumerate(layers):
                self.add_module(_numbered(f"{path}conv", number), Unit(before, layer))
                before = layer.width
            if path in block.split:
                for number, kernel in enumerate(((3, 1), (1, 3))):
                    layer = Layer(SPLIT_WIDTH, *kernel)
                    self.add_module(_numbered(f"{path}mixed_conv", number), Unit(before, layer))
            self.width += 2 * SPLIT_WIDTH if path in block.split else before
        if block.pooled:
            self.tower_2_conv = Unit(inner, Layer(block.pooled))

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (N, C, H, W) to (N, width, H, W), or half of H and W."""
        found = []
        for path, layers in self.block.paths.items():
            features = x
            for number in range(len(layers)):
                features = self.get_submodule(_numbered(f"{path}conv", number))(features)
            if path in self.block.split:
                found += [self.get_submodule(_numbered(f"{path}mixed_conv", number))(features) for number in (0, 1)]
            else:
                found.append(features)
        if not self.block.pooled:
            return torch.cat([*found, F.max_pool2d(x, 3, stride=2)], 1)
        pooled = F.max_pool2d(x, 3, 1, 1) if self.largest else F.avg_pool2d(x, 3, 1, 1)
        return torch.cat([*found, self.tower_2_conv(pooled)], 1)


class Unit(nn.Module):
    """A convolution with a bias, its norm and a ReLU."""

    def __init__(self, inner: int, layer: Layer, *, padded: bool = True) -> None:
        super().__init__()
        kernel = (layer.height, layer.across)
        keeps = padded and layer.stride == 1
        padding = (layer.height // 2, layer.across // 2) if keeps else (0, 0)
        self.conv = nn.Conv2d(inner, layer.width, kernel, stride=layer.stride, padding=padding)
        self.bn = nn.BatchNorm2d(layer.width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (N, inner, H, W) to (N, width, H, W)."""
        return F.relu(self.bn(self.conv(x)))


def _numbered(name: str, number: int) -> str:
    """Returns the name of the layer with this number: conv, conv_1, conv_2, ..."""
    return f"{name}_{number}" if number else name


def _longest(block: Block) -> str:
    """Returns the first layer of the path with the most layers; in a block with split paths, all are as long."""
    return "conv" if block.split else f"{max(block.paths, key=lambda path: len(block.paths[path]))}conv"


def _gated(name: str, gates: Gates) -> str:
    """Returns the layer of a block that its authors gate."""
    return "tower_conv" if name == "mixed_8" or (name == "mixed_3" and gates == "gsm") else "conv"


def inception_v3_tsn(*, gates: Gates = "gsf") -> nn.Module:
    """Builds the network with random weights and 1000 classes.

    gates: where `temporal: {name: gsm}` or `gsf` puts its gates: as the authors of `gsm` or of `gsf`.
    """
    return InceptionV3(gates=gates)
