"""Builds X3D (Feichtenhofer 2020, arXiv 2004.04730), depthwise 3-D networks that are small enough for a CPU or a phone.

One network is described as data, and the published ones are rows of it. Keys follow torchvision's ResNet, as in
resnet3d.py: conv1_s, conv1_t, bn1, layer1.0.conv1, ..., layer1.0.se.fc1, downsample.0, conv5, bn5, conv6, fc.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import PositiveInt
from torch import Tensor, nn

from networks.clip.clip_head import PositionAverage, average_positions, classify_positions, pool_positions
from networks.clip.resnet3d import init_resnet3d, same_conv
from utils.config.build import checked

STEM = 24  # channels of the stem, and of the first stage
WIDTHS = (24, 48, 96, 192)  # output channels of the stages
DEPTHS = (1, 2, 5, 3)  # blocks of the stages, before a network multiplies them
EXPANSION = 2.25  # channels inside of a block, by its output channels
HEAD = 2048  # features that the classifier sees
SE_RATIO = 1 / 16  # channels inside of squeeze and excitation, by those outside


def round_width(width: int, multiplier: float, min_width: int = 8, divisor: int = 8, ceil: bool = False) -> int:
    """Returns width * multiplier, rounded to a multiple of `divisor` that is not more than 10 % below it.

    multiplier: 0 or None returns the width as it is.
    ceil: round up, not to the nearest.
    """
    if not multiplier:
        return width
    wanted = width * multiplier
    steps = math.ceil(wanted / divisor) if ceil else int(wanted + divisor / 2) // divisor
    found = max(min_width or divisor, steps * divisor)
    return int(found + divisor if found < 0.9 * wanted else found)


class SqueezeExcitation(nn.Module):
    """Weighs channels by what the whole clip holds of them (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = round_width(channels, SE_RATIO)
        self.fc1 = nn.Conv3d(channels, inner, 1)
        self.fc2 = nn.Conv3d(inner, channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to features of the same shape."""
        return x * self.fc2(self.relu(self.fc1(x.mean((2, 3, 4), keepdim=True)))).sigmoid()


class X3DBlock(nn.Module):
    """Applies a residual block whose middle convolution sees every channel alone, in space and time.

    excited: weigh the channels behind the middle convolution, in front of its activation.
    shortcut_norm: normalise behind the shortcut's convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, excited: bool, shortcut_norm: bool) -> None:
        super().__init__()
        inner, strides = int(EXPANSION * outputs), (1, stride, stride)
        self.conv1 = same_conv(inputs, inner, (1, 1, 1))
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = same_conv(inner, inner, (3, 3, 3), stride=strides, groups=inner)
        self.bn2 = nn.BatchNorm3d(inner)
        self.se = SqueezeExcitation(inner) if excited else nn.Identity()
        self.swish = nn.SiLU(inplace=True)
        self.conv3 = same_conv(inner, outputs, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if inputs != outputs or stride > 1:
            norm = [nn.BatchNorm3d(outputs)] if shortcut_norm else []
            self.downsample = nn.Sequential(same_conv(inputs, outputs, (1, 1, 1), stride=strides), *norm)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, inputs, T, H, W) to (B, outputs, T, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.swish(self.se(self.bn2(self.conv2(x))))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class X3D(nn.Module):
    """Classifies clips (B, 3, T, H, W): logits (B, K). Time is never strided.

    The head averages windows of all frames and crop_size/32 x crop_size/32 features and classifies each window. At the
    training crop there is one window; at a larger crop there are several.

    depth: factor of the numbers of blocks in DEPTHS.
    crop_size: side of the training crop; None lets the window cover all of the space.
    first_shortcut_norm: normalise behind the first stage's shortcut as behind all others.
    position_average: what evaluation averages over windows, see `networks.clip.resnet3d.ResNet3d`.
    zero_init_residual: set the scale of the last norm of each block to zero.
    """

    def __init__(
        self,
        depth: float,
        *,
        num_class: int = 400,
        dropout: float = 0.5,
        crop_size: int | None = 224,
        first_shortcut_norm: bool = True,
        position_average: PositionAverage = "logits",
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__()
        self.conv1_s = same_conv(3, STEM, (1, 3, 3), stride=(1, 2, 2))
        self.conv1_t = same_conv(STEM, STEM, (5, 1, 1), groups=STEM)
        self.bn1 = nn.BatchNorm3d(STEM)
        self.relu = nn.ReLU(inplace=True)
        inputs = STEM
        for stage, (outputs, blocks) in enumerate(zip(WIDTHS, depths(depth), strict=True)):
            normed = first_shortcut_norm or stage > 0
            self.add_module(f"layer{stage + 1}", _stage(inputs, outputs, blocks, shortcut_norm=normed))
            inputs = outputs
        inner = int(EXPANSION * inputs)
        self.conv5 = same_conv(inputs, inner, (1, 1, 1))
        self.bn5 = nn.BatchNorm3d(inner)
        self.conv6 = same_conv(inner, HEAD, (1, 1, 1))
        self.head_act = nn.ReLU(inplace=True)
        side = None if crop_size is None else math.ceil(crop_size / 32)
        self.head_window: tuple[int | None, int | None, int | None] = (None, side, side)
        self.position_average: PositionAverage = position_average
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(HEAD, num_class)
        _initialise(self, zero_init_residual=zero_init_residual)

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps clips (B, 3, T, H, W) to features (B, 192, T, H/32, W/32)."""
        x = self.relu(self.bn1(self.conv1_t(self.conv1_s(x))))
        for stage in range(len(WIDTHS)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised RGB clips (B, 3, T, H, W) to logits (B, K)."""
        x = self.head_act(self.bn5(self.conv5(self.forward_features(x))))
        x = self.head_act(self.conv6(pool_positions(x, self.head_window)))
        logits = classify_positions(self.dropout(x), self.fc)
        return average_positions(logits, "logits" if self.training else self.position_average)


def depths(factor: float) -> tuple[int, ...]:
    """Returns the number of blocks in each stage."""
    return tuple(math.ceil(factor * blocks) for blocks in DEPTHS)


def _stage(inputs: int, outputs: int, blocks: int, *, shortcut_norm: bool) -> nn.Sequential:
    first = X3DBlock(inputs, outputs, stride=2, excited=True, shortcut_norm=shortcut_norm)
    rest = (
        X3DBlock(outputs, outputs, stride=1, excited=index % 2 == 0, shortcut_norm=shortcut_norm)
        for index in range(1, blocks)
    )
    return nn.Sequential(first, *rest)


def _initialise(net: nn.Module, *, zero_init_residual: bool) -> None:
    init_resnet3d(net, zero_init_residual=False)
    for module in net.modules():
        if isinstance(module, SqueezeExcitation):
            for conv in (module.fc1, module.fc2):
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        elif isinstance(module, X3DBlock) and zero_init_residual:
            nn.init.zeros_(module.bn3.weight)


@dataclass(frozen=True)
class X3DEntry:
    """Describes a published X3D as data.

    source: project and paper that it comes from.
    depth: factor of the numbers of blocks.
    frames, stride: of its clip.
    crop: side of its training crop. test_crop: side of its three test crops, and the short side that they are cut from.
    fixed_window: whether its head averages windows of the training crop's size; otherwise one window of any size.
    first_shortcut_norm: see `X3D`.
    """

    source: str
    depth: float
    frames: int
    stride: int
    crop: int
    test_crop: int
    fixed_window: bool = True
    first_shortcut_norm: bool = False


_PAPER = "Feichtenhofer 2020, arXiv 2004.04730"
_XS, _S, _M, _L = (2.2, 4, 12, 160, 182), (2.2, 13, 6, 160, 182), (2.2, 16, 5, 224, 256), (5.0, 16, 5, 312, 356)
_ADAPTIVE: dict[str, bool] = {"fixed_window": False, "first_shortcut_norm": True}

X3DS: dict[str, X3DEntry] = {
    "x3d_xs": X3DEntry(f"X3D-XS, {_PAPER}", *_XS),
    "x3d_s": X3DEntry(f"X3D-S, {_PAPER}", *_S),
    "x3d_m": X3DEntry(f"X3D-M, {_PAPER}", *_M),
    "x3d_l": X3DEntry(f"X3D-L, {_PAPER}", *_L),
    "efficient_x3d_xs": X3DEntry("X3D-XS as in PyTorchVideo's accelerator, for phones", *_XS, **_ADAPTIVE),
    "efficient_x3d_s": X3DEntry("X3D-S as in PyTorchVideo's accelerator, for phones", *_S, **_ADAPTIVE),
}


def _builder(name: str, entry: X3DEntry) -> Callable[..., X3D]:
    @checked
    def build(
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.5,
        crop_size: PositiveInt | None = entry.crop if entry.fixed_window else None,
        first_shortcut_norm: bool = entry.first_shortcut_norm,
        position_average: PositionAverage = "logits",
        zero_init_residual: bool = True,
    ) -> X3D:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class). See `X3D`."""
        return X3D(
            entry.depth,
            num_class=num_class,
            dropout=dropout,
            crop_size=crop_size,
            first_shortcut_norm=first_shortcut_norm,
            position_average=position_average,
            zero_init_residual=zero_init_residual,
        )

    build.__name__ = build.__qualname__ = name
    return build


BUILDERS: dict[str, Callable[..., X3D]] = {name: _builder(name, entry) for name, entry in X3DS.items()}
