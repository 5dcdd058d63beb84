"""Builds 3-D ResNets with a 3x3x3 kernel in every block: the `resnet50_3d` family of the original project's configs.

Networks that separate time from space are in resnet3d.py and factorised_resnet.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.clip.clip_head import pool_positions
from utils.config.build import checked

Shortcut = Literal["A", "B"]
DEPTHS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


class PaddedShortcut(nn.Module):
    """Subsamples and fills the additional channels with zeros: the shortcut of type A, without parameters."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to (B, channels, T / stride, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.channels - x.shape[1]))


def _shortcut(kind: Shortcut, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    if kind == "A":
        return PaddedShortcut(outputs, stride)
    return nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))


class BasicBlock(nn.Module):
    """Applies a residual block of two 3x3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int, shortcut_type: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(shortcut_type, inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, inputs, T, H, W) to (B, width * expansion, T / stride, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """Applies a residual block of convolutions: 1x1x1, 3x3x3 with the stride, 1x1x1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int, shortcut_type: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(shortcut_type, inputs, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, inputs, T, H, W) to (B, width * expansion, T / stride, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet3d333(nn.Module):
    """Classifies clips (B, 3, T, H, W) with a 3D ResNet (Hara et al. 2018, arXiv 1711.09577): logits (B, K).

    It has a 7x7x7 stem and a 3x3x3 max pool; the pool and stages 2 to 4 halve the time. The head averages windows of
    ceil(sample_duration / 16) x ceil(sample_size / 32)^2 features, which are all features of a clip of that size. Keys
    are those of torchvision's image ResNet.

    sample_size: side of the training crop.
    sample_duration: T.
    shortcut_type: A (zero padding) or B (projection).
    """

    def __init__(
        self,
        depth: int,
        *,
        num_class: int = 400,
        dropout: float = 0.0,
        sample_size: int = 112,
        sample_duration: int = 16,
        shortcut_type: Shortcut = "B",
    ) -> None:
        super().__init__()
        bottleneck, depths = DEPTHS[depth]
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if bottleneck else BasicBlock
        self.head_window = (math.ceil(sample_duration / 16), math.ceil(sample_size / 32), math.ceil(sample_size / 32))
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        inputs = 64
        for stage, count in enumerate(depths):
            width, blocks = 64 * 2**stage, []
            for index in range(count):
                stride = 2 if stage and index == 0 else 1
                blocks.append(block(inputs, width, stride=stride, shortcut_type=shortcut_type))
                inputs = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = inputs
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(inputs, num_class)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps clips (B, 3, T, H, W) to features (B, out_channels, T/16, H/32, W/32), rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised RGB clips (B, 3, T, H, W) to logits (B, K)."""
        pooled = pool_positions(self.forward_features(x), self.head_window)
        logits: Tensor = self.fc(self.dropout(torch.flatten(pooled.mean((2, 3, 4)), 1)))
        return logits


def _builder(depth: int) -> Callable[..., ResNet3d333]:
    @checked
    def build(
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        sample_size: PositiveInt = 112,
        sample_duration: PositiveInt = 16,
        shortcut_type: Shortcut = "B",
    ) -> ResNet3d333:
        return ResNet3d333(
            depth,
            num_class=num_class,
            dropout=dropout,
            sample_size=sample_size,
            sample_duration=sample_duration,
            shortcut_type=shortcut_type,
        )

    return build


BUILDERS: dict[str, Callable[..., ResNet3d333]] = {f"resnet{depth}_3d": _builder(depth) for depth in DEPTHS}
