"""Builds the bottlenecks inside the residual blocks of PyTorchVideo's ResNets."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import CUBE, ONE, Build, Padding, Triple, apply, check_groups, make, make_norm
from networks.pytorchvideo.convolutions import create_conv_2plus1d
from utils.config.build import checked

SPATIAL, TEMPORAL = (1, 3, 3), (3, 1, 1)


def mark_last(norm: nn.Module | None) -> None:
    """Marks the last norm of a block, whose scale `Net` sets to zero."""
    if norm is not None:
        norm.block_final_bn = True  # type: ignore[assignment]


class BottleneckBlock(nn.Module):
    """Applies three convolutions a, b and c, with norms, and activations behind the first two.

    A norm or an activation that is None is left out.
    """

    def __init__(
        self,
        *,
        conv_a: nn.Module,
        norm_a: nn.Module | None = None,
        act_a: nn.Module | None = None,
        conv_b: nn.Module,
        norm_b: nn.Module | None = None,
        act_b: nn.Module | None = None,
        conv_c: nn.Module,
        norm_c: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv_a = conv_a
        self.norm_a = norm_a
        self.act_a = act_a
        self.conv_b = conv_b
        self.norm_b = norm_b
        self.act_b = act_b
        self.conv_c = conv_c
        self.norm_c = norm_c
        mark_last(norm_c)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to those behind the last norm."""
        x = apply(x, self.conv_a, self.norm_a, self.act_a)
        x = apply(x, self.conv_b, self.norm_b, self.act_b)
        return apply(x, self.conv_c, self.norm_c)


class SeparableBottleneckBlock(nn.Module):
    """Applies a bottleneck with several convolutions b side by side, whose outputs are added or joined.

    conv_b, norm_b, act_b: one entry for each of them; a norm or an activation may be None, as in `BottleneckBlock`.
    conv_a, norm_a, act_a, norm_c: None leaves them out.
    reduce_method: `sum`, or `cat` to join channels.
    """

    @checked
    def __init__(
        self,
        *,
        conv_a: nn.Module | None,
        norm_a: nn.Module | None,
        act_a: nn.Module | None,
        conv_b: nn.ModuleList,
        norm_b: nn.ModuleList,
        act_b: nn.ModuleList,
        conv_c: nn.Module,
        norm_c: nn.Module | None,
        reduce_method: Literal["sum", "cat"] = "sum",
    ) -> None:
        super().__init__()
        self.conv_a = conv_a
        self.norm_a = norm_a
        self.act_a = act_a
        self.conv_b = conv_b
        self.norm_b = norm_b
        self.act_b = act_b
        self.conv_c = conv_c
        self.norm_c = norm_c
        self.reduce_method = reduce_method
        mark_last(norm_c)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to those behind the last norm."""
        x = apply(x, self.conv_a, self.norm_a, self.act_a)
        found = [apply(x, *parts) for parts in zip(self.conv_b, self.norm_b, self.act_b, strict=True)]
        x = torch.stack(found).sum(0) if self.reduce_method == "sum" else torch.cat(found, 1)
        return apply(x, self.conv_c, self.norm_c)


@checked
def create_bottleneck_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    conv_a_kernel_size: Triple = TEMPORAL,
    conv_a_stride: Triple = (2, 1, 1),
    conv_a_padding: Padding = (1, 0, 0),
    conv_a: Build = nn.Conv3d,
    conv_b_kernel_size: Triple = SPATIAL,
    conv_b_stride: Triple = (1, 2, 2),
    conv_b_padding: Padding = (0, 1, 1),
    conv_b_num_groups: PositiveInt = 1,
    conv_b_dilation: Triple = ONE,
    conv_b: Build = nn.Conv3d,
    conv_c: Build = nn.Conv3d,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> BottleneckBlock:
    """Builds the inside of a residual block: features (B, dim_in, T, H, W) -> (B, dim_out, T', H', W').

    conv_a, conv_b, conv_c: called as nn.Conv3d, with keyword arguments.
    norm, activation: see `networks.create_resnet`.
    Raises: ArgumentError that names the argument.
    """
    check_groups("conv_b_num_groups", conv_b_num_groups, dim_inner)

    def normed(channels: int) -> nn.Module | None:
        return make_norm(norm, channels, norm_eps, norm_momentum)

    return BottleneckBlock(
        conv_a=conv_a(
            in_channels=dim_in, out_channels=dim_inner, kernel_size=tuple(conv_a_kernel_size),
            stride=tuple(conv_a_stride), padding=tuple(conv_a_padding), bias=False,
        ),
        norm_a=normed(dim_inner),
        act_a=make(activation),
        conv_b=conv_b(
            in_channels=dim_inner, out_channels=dim_inner, kernel_size=tuple(conv_b_kernel_size),
            stride=tuple(conv_b_stride), padding=tuple(conv_b_padding), bias=False, groups=conv_b_num_groups,
            dilation=tuple(conv_b_dilation),
        ),
        norm_b=normed(dim_inner),
        act_b=make(activation),
        conv_c=conv_c(in_channels=dim_inner, out_channels=dim_out, kernel_size=ONE, bias=False),
        norm_c=normed(dim_out),
    )  # fmt: skip


@checked
def create_acoustic_bottleneck_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    conv_a_kernel_size: Triple = TEMPORAL,
    conv_a_stride: Triple = (2, 1, 1),
    conv_a_padding: Padding = (1, 0, 0),
    conv_a: Build = nn.Conv3d,
    conv_b_kernel_size: Triple = ONE,
    conv_b_stride: Triple = ONE,
    conv_b_padding: Padding = (0, 0, 0),
    conv_b_num_groups: PositiveInt = 1,
    conv_b_dilation: Triple = ONE,
    conv_b: Build = nn.Conv3d,
    conv_c: Build = nn.Conv3d,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> SeparableBottleneckBlock:
    """Builds a bottleneck whose middle convolution is two side by side, one in space and one in time.

    Both have all of the stride and the groups, and their part of kernel, padding and dilation; their outputs are added.
    The other arguments are those of `create_bottleneck_block`.

    Raises: ArgumentError that names the argument.
    """
    outer = create_bottleneck_block(
        dim_in=dim_in, dim_inner=dim_inner, dim_out=dim_out, conv_a_kernel_size=conv_a_kernel_size,
        conv_a_stride=conv_a_stride, conv_a_padding=conv_a_padding, conv_a=conv_a,
        conv_b_num_groups=conv_b_num_groups, conv_c=conv_c, norm=norm, norm_eps=norm_eps,
        norm_momentum=norm_momentum, activation=activation,
    )  # fmt: skip

    def normed() -> nn.Module | None:
        return make_norm(norm, dim_inner, norm_eps, norm_momentum)

    def middle(in_space: bool) -> nn.Module:
        def part(triple: Any, other: int) -> tuple[int, int, int]:
            return (other, triple[1], triple[2]) if in_space else (triple[0], other, other)

        return conv_b(
            in_channels=dim_inner, out_channels=dim_inner, kernel_size=part(conv_b_kernel_size, 1),
            stride=tuple(conv_b_stride), padding=part(conv_b_padding, 0), bias=False, groups=conv_b_num_groups,
            dilation=part(conv_b_dilation, 1),
        )  # fmt: skip

    return SeparableBottleneckBlock(
        conv_a=outer.conv_a,
        norm_a=outer.norm_a,
        act_a=outer.act_a,
        conv_b=nn.ModuleList([middle(True), middle(False)]),
        norm_b=nn.ModuleList([normed() or nn.Identity() for _ in range(2)]),
        act_b=nn.ModuleList([make(activation) or nn.Identity() for _ in range(2)]),
        conv_c=outer.conv_c,
        norm_c=outer.norm_c,
    )


@checked
def create_2plus1d_bottleneck_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    conv_a_kernel_size: Triple = ONE,
    conv_a_stride: Triple = ONE,
    conv_a_padding: Padding = (0, 0, 0),
    conv_a: Build = nn.Conv3d,
    conv_b_kernel_size: Triple = CUBE,
    conv_b_stride: Triple = (2, 2, 2),
    conv_b_padding: Padding = ONE,
    conv_b_num_groups: PositiveInt = 1,
    conv_b_dilation: Triple = ONE,
    conv_b: Build = create_conv_2plus1d,
    conv_c: Build = nn.Conv3d,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> BottleneckBlock:
    """Builds a bottleneck whose middle convolution is one in time and one in space, see `create_bottleneck_block`.

    conv_b: not looked at, as in PyTorchVideo, because residual blocks always give one.
    Raises: ArgumentError that names the argument.
    """
    factorised = partial(
        create_conv_2plus1d, norm=norm, norm_eps=norm_eps, norm_momentum=norm_momentum, activation=activation
    )
    return create_bottleneck_block(
        dim_in=dim_in, dim_inner=dim_inner, dim_out=dim_out, conv_a_kernel_size=conv_a_kernel_size,
        conv_a_stride=conv_a_stride, conv_a_padding=conv_a_padding, conv_a=conv_a,
        conv_b_kernel_size=conv_b_kernel_size, conv_b_stride=conv_b_stride, conv_b_padding=conv_b_padding,
        conv_b_num_groups=conv_b_num_groups, conv_b_dilation=conv_b_dilation, conv_b=factorised, conv_c=conv_c,
        norm=norm, norm_eps=norm_eps, norm_momentum=norm_momentum, activation=activation,
    )  # fmt: skip
