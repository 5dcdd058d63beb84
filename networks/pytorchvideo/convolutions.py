"""Holds PyTorchVideo's convolutions that are made of several: side by side, or one in time and one in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import CUBE, ONE, Build, Padding, Triple, apply, check_groups, make, make_norm
from utils.config.build import ArgumentError, checked


class ConvReduce3D(nn.Module):
    """Applies several 3-D convolutions to the same features, and adds or joins what they give.

    kernel_size: one for each convolution. The other arguments are None, or have one entry for each convolution, whose
        None is the default of nn.Conv3d.
    reduction_method: `sum`, or `cat` to join channels.
    Raises: ArgumentError for another number of entries.
    """

    @checked
    def __init__(
        self,
        *,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: Sequence[Any],
        stride: Sequence[Any] | None = None,
        padding: Sequence[Any] | None = None,
        padding_mode: Sequence[Any] | None = None,
        dilation: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        bias: Sequence[Any] | None = None,
        reduction_method: Literal["sum", "cat"] = "sum",
    ) -> None:
        super().__init__()
        self.reduction_method = reduction_method
        given = {
            "stride": stride,
            "padding": padding,
            "padding_mode": padding_mode,
            "dilation": dilation,
            "groups": groups,
            "bias": bias,
        }
        for key, values in given.items():
            if values is not None and len(values) != len(kernel_size):
                raise ArgumentError(f"{key}: has {len(values)} entries for {len(kernel_size)} convolutions")
        convs = []
        for index, kernel in enumerate(kernel_size):
            own = {key: values[index] for key, values in given.items() if values is not None}
            own = {key: value for key, value in own.items() if value is not None}
            convs.append(nn.Conv3d(in_channels, out_channels, kernel, **own))
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, in_channels, T, H, W) to (B, out_channels, ...), with `cat` to out_channels for each."""
        found = [conv(x) for conv in self.convs]
        return torch.cat(found, 1) if self.reduction_method == "cat" else torch.stack(found).sum(0)


class Conv2plus1d(nn.Module):
    """Applies a convolution in time, a norm, an activation and a convolution in space (Tran et al. 2018, 1711.11248).

    norm, activation: None leaves them out.
    conv_xy_first: convolve in space first.
    """

    def __init__(
        self,
        *,
        conv_t: nn.Module,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
        conv_xy: nn.Module,
        conv_xy_first: bool = False,
    ) -> None:
        super().__init__()
        self.conv_t = conv_t
        self.norm = norm
        self.activation = activation
        self.conv_xy = conv_xy
        self.conv_xy_first = conv_xy_first

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to those behind both convolutions."""
        first, second = (self.conv_xy, self.conv_t) if self.conv_xy_first else (self.conv_t, self.conv_xy)
        return apply(x, first, self.norm, self.activation, second)


@checked
def create_conv_2plus1d(
    *,
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    inner_channels: PositiveInt | None = None,
    conv_xy_first: bool = False,
    kernel_size: Triple = CUBE,
    stride: Triple = (2, 2, 2),
    padding: Padding = ONE,
    bias: bool = False,
    dilation: Triple = ONE,
    groups: PositiveInt = 1,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
) -> Conv2plus1d:
    """Builds a 3-D convolution that is factorised into time and space, see `Conv2plus1d`.

    Each of the two has its part of kernel, stride, padding and dilation, and all groups; PyTorchVideo refuses dilation
    and groups.

    inner_channels: between the two; None is out_channels.
    Raises: ArgumentError that names the argument.
    """
    inner = inner_channels or out_channels
    for channels in (in_channels, inner, out_channels):
        check_groups("groups", groups, channels)
    first, second = (in_channels, inner), (inner, out_channels)
    of_time, of_space = (second, first) if conv_xy_first else (first, second)
    return Conv2plus1d(
        conv_t=nn.Conv3d(
            *of_time, (kernel_size[0], 1, 1), (stride[0], 1, 1), (padding[0], 0, 0), (dilation[0], 1, 1), groups, bias
        ),
        norm=make_norm(norm, inner, norm_eps, norm_momentum),
        activation=make(activation),
        conv_xy=nn.Conv3d(
            *of_space, (1, *kernel_size[1:]), (1, *stride[1:]), (0, *padding[1:]), (1, *dilation[1:]), groups, bias
        ),
        conv_xy_first=conv_xy_first,
    )
