"""Builds what reads the pixels in PyTorchVideo's networks: stems of ResNets, and the patches of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import ONE, Build, Padding, Triple, apply, make, make_norm, make_pool
from networks.pytorchvideo.convolutions import ConvReduce3D
from utils.config.build import checked


class ResNetBasicStem(nn.Module):
    """Applies a convolution, a norm, an activation and a pool; None leaves one of the last three out."""

    def __init__(
        self,
        *,
        conv: nn.Module,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to features."""
        return apply(x, self.conv, self.norm, self.activation, self.pool)


@checked
def create_res_basic_stem(
    *,
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    conv_kernel_size: Triple = (3, 7, 7),
    conv_stride: Triple = (1, 2, 2),
    conv_padding: Padding = (1, 3, 3),
    conv_bias: bool = False,
    conv: Build = nn.Conv3d,
    pool: Build | None = nn.MaxPool3d,
    pool_kernel_size: Triple = (1, 3, 3),
    pool_stride: Triple = (1, 2, 2),
    pool_padding: Padding = (0, 1, 1),
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> ResNetBasicStem:
    """Builds the stem of a 3-D ResNet: clips (B, in_channels, T, H, W) -> features (B, out_channels, T', H', W').

    conv: called as nn.Conv3d, with keyword arguments.
    pool: called with kernel_size, stride and padding; None leaves it out.
    norm, activation: see `networks.create_resnet`.
    """
    return ResNetBasicStem(
        conv=conv(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=tuple(conv_kernel_size),
            stride=tuple(conv_stride),
            padding=tuple(conv_padding),
            bias=conv_bias,
        ),
        norm=make_norm(norm, out_channels, norm_eps, norm_momentum),
        activation=make(activation),
        pool=make_pool(pool, pool_kernel_size, pool_stride, pool_padding),
    )


@checked
def create_acoustic_res_basic_stem(
    *,
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    conv_kernel_size: Triple = (3, 7, 7),
    conv_stride: Triple = ONE,
    conv_padding: Padding = (1, 3, 3),
    conv_bias: bool = False,
    pool: Build | None = nn.MaxPool3d,
    pool_kernel_size: Triple = (1, 3, 3),
    pool_stride: Triple = (1, 2, 2),
    pool_padding: Padding = (0, 1, 1),
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> ResNetBasicStem:
    """Builds the stem of a network over spectrograms, see `create_res_basic_stem`.

    A convolution in time and one in space, of the same stride, see the same input, and their outputs are added.
    """
    time, *space = conv_padding

    def both(in_channels: int, out_channels: int, kernel_size: Sequence[int], stride: Any, bias: bool, **_: Any) -> Any:
        return ConvReduce3D(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=((kernel_size[0], 1, 1), (1, *kernel_size[1:])),
            stride=(stride, stride),
            padding=((time, 0, 0), (0, *space)),
            bias=(bias, bias),
        )

    return create_res_basic_stem(
        in_channels=in_channels,
        out_channels=out_channels,
        conv_kernel_size=conv_kernel_size,
        conv_stride=conv_stride,
        conv_bias=conv_bias,
        conv=both,
        pool=pool,
        pool_kernel_size=pool_kernel_size,
        pool_stride=pool_stride,
        pool_padding=pool_padding,
        norm=norm,
        norm_eps=norm_eps,
        norm_momentum=norm_momentum,
        activation=activation,
    )


class PatchEmbed(nn.Module):
    """Turns pictures or clips into a sequence of patches.

    patch_model: maps (B, C, ...) to features of the patches, (B, width, ...).
    """

    def __init__(self, *, patch_model: nn.Module) -> None:
        super().__init__()
        self.patch_model = patch_model

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) or (B, C, H, W) to (B, patches, width)."""
        patches: Tensor = self.patch_model(x)
        return patches.flatten(2).transpose(1, 2)


@checked
def create_conv_patch_embed(
    *,
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    conv_kernel_size: Sequence[PositiveInt] = (1, 16, 16),
    conv_stride: Sequence[PositiveInt] = (1, 4, 4),
    conv_padding: Sequence[NonNegativeInt] = (1, 7, 7),
    conv_bias: bool = True,
    conv: Build = nn.Conv3d,
) -> PatchEmbed:
    """Builds a convolution whose outputs are patches, see `PatchEmbed`.

    conv: nn.Conv3d, or nn.Conv2d for pictures, with pairs in place of triples.
    """
    return PatchEmbed(
        patch_model=conv(
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=tuple(conv_kernel_size),
            stride=tuple(conv_stride),
            padding=tuple(conv_padding),
            bias=conv_bias,
        )
    )
