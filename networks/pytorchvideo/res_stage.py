"""Builds residual blocks and stages of PyTorchVideo's ResNets around any bottleneck."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import (
    ONE,
    STAGES,
    Build,
    Padding,
    Triple,
    apply,
    check_groups,
    halves,
    is_single,
    make,
    make_norm,
)
from networks.pytorchvideo.bottleneck import SPATIAL, TEMPORAL
from utils.config.build import ArgumentError, checked


class ResBlock(nn.Module):
    """Joins a shortcut, branch 1, with what branch 2 makes of the features.

    branch1_conv, branch1_norm: of the shortcut; None leaves them out.
    branch_fusion: called with shortcut and branch; None adds them.
    """

    def __init__(
        self,
        branch1_conv: nn.Module | None = None,
        branch1_norm: nn.Module | None = None,
        branch2: nn.Module | None = None,
        activation: nn.Module | None = None,
        branch_fusion: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if branch2 is None:
            raise ArgumentError("branch2: is missing; give the branch of the block, such as a BottleneckBlock")
        self.branch1_conv = branch1_conv
        self.branch1_norm = branch1_norm
        self.branch2 = branch2
        self.activation = activation
        self.branch_fusion = branch_fusion or operator.add

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to new ones."""
        shortcut = x if self.branch1_conv is None else apply(x, self.branch1_conv, self.branch1_norm)
        return apply(self.branch_fusion(shortcut, self.branch2(x)), self.activation)


class ResStage(nn.Module):
    """Applies blocks one behind the other."""

    def __init__(self, res_blocks: nn.ModuleList) -> None:
        super().__init__()
        self.res_blocks = res_blocks

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to new ones."""
        return apply(x, *self.res_blocks)


@checked
def create_res_block(
    *,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    bottleneck: Build,
    use_shortcut: bool = False,
    branch_fusion: Callable[[Tensor, Tensor], Tensor] = operator.add,
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
    conv_skip: Build = nn.Conv3d,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation_bottleneck: Build | None = nn.ReLU,
    activation_block: Build | None = nn.ReLU,
) -> ResBlock:
    """Builds a residual block: features (B, dim_in, T, H, W) -> (B, dim_out, T', H', W').

    bottleneck: makes branch 2; called with the arguments of `create_bottleneck_block`.
    use_shortcut: convolve the shortcut even where the shape stays.
    conv_skip: makes the shortcut's convolution.
    norm, activation_...: see `networks.create_resnet`; activation_block is behind the sum.
    Raises: ArgumentError that names the argument.
    """
    stride = tuple(a * b for a, b in zip(conv_a_stride, conv_b_stride, strict=True))
    convolved = use_shortcut or dim_in != dim_out or stride != ONE
    branch2 = bottleneck(
        dim_in=dim_in, dim_inner=dim_inner, dim_out=dim_out, conv_a_kernel_size=conv_a_kernel_size,
        conv_a_stride=conv_a_stride, conv_a_padding=conv_a_padding, conv_a=conv_a,
        conv_b_kernel_size=conv_b_kernel_size, conv_b_stride=conv_b_stride, conv_b_padding=conv_b_padding,
        conv_b_num_groups=conv_b_num_groups, conv_b_dilation=conv_b_dilation, conv_b=conv_b, conv_c=conv_c,
        norm=norm, norm_eps=norm_eps, norm_momentum=norm_momentum, activation=activation_bottleneck,
    )  # fmt: skip
    return ResBlock(
        branch1_conv=conv_skip(dim_in, dim_out, kernel_size=ONE, stride=stride, bias=False) if convolved else None,
        branch1_norm=make_norm(norm, dim_out, norm_eps, norm_momentum) if convolved else None,
        branch2=branch2,
        activation=make(activation_block),
        branch_fusion=branch_fusion,
    )


@checked
def create_res_stage(
    *,
    depth: PositiveInt,
    dim_in: PositiveInt,
    dim_inner: PositiveInt,
    dim_out: PositiveInt,
    bottleneck: Build,
    conv_a_kernel_size: Triple | Sequence[Triple] = TEMPORAL,
    conv_a_stride: Triple = (2, 1, 1),
    conv_a_padding: Padding | Sequence[Padding] = (1, 0, 0),
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
) -> ResStage:
    """Builds `depth` residual blocks, of which the first one has the strides, see `create_res_block`.

    conv_a_kernel_size, conv_a_padding: one triple for all blocks, or a list that is repeated over them.
    Raises: ArgumentError that names the argument.
    """
    blocks = []
    kernels = _repeated("conv_a_kernel_size", conv_a_kernel_size, depth)
    paddings = _repeated("conv_a_padding", conv_a_padding, depth)
    each = zip(kernels, paddings, strict=True)
    for index, (kernel, padding) in enumerate(each):
        first = index == 0
        block = create_res_block(
            dim_in=dim_in if first else dim_out, dim_inner=dim_inner, dim_out=dim_out, bottleneck=bottleneck,
            conv_a_kernel_size=kernel, conv_a_stride=conv_a_stride if first else ONE, conv_a_padding=padding,
            conv_a=conv_a, conv_b_kernel_size=conv_b_kernel_size, conv_b_stride=conv_b_stride if first else ONE,
            conv_b_padding=conv_b_padding, conv_b_num_groups=conv_b_num_groups, conv_b_dilation=conv_b_dilation,
            conv_b=conv_b, conv_c=conv_c, norm=norm, norm_eps=norm_eps, norm_momentum=norm_momentum,
            activation_bottleneck=activation, activation_block=activation,
        )  # fmt: skip
        blocks.append(block)
    return ResStage(nn.ModuleList(blocks))


def create_stages(
    depths: Sequence[int],
    dims: Sequence[tuple[int, int, int]],
    *,
    bottlenecks: Sequence[Build],
    kernels_a: Sequence[Any],
    strides_a: Sequence[Triple],
    kernels_b: Sequence[Triple],
    strides_b: Sequence[Triple],
    groups: Sequence[int],
    dilations: Sequence[Triple],
    **norms: Any,
) -> list[nn.Module]:
    """Builds the stages of a network, with paddings that keep the size; there is one entry for each stage.

    dims: channels in front of a stage, inside of its blocks, and behind it.
    norms: norm, norm_eps, norm_momentum and activation of `create_res_stage`.
    Raises: ArgumentError for groups that do not divide channels.
    """
    stages: list[nn.Module] = []
    for index, (inputs, inner, outputs) in enumerate(dims):
        check_groups("stage_conv_b_num_groups", groups[index], inner)
        kernel_a, kernel_b, dilation = kernels_a[index], kernels_b[index], dilations[index]
        stage = create_res_stage(
            depth=depths[index], dim_in=inputs, dim_inner=inner, dim_out=outputs, bottleneck=bottlenecks[index],
            conv_a_kernel_size=kernel_a, conv_a_stride=strides_a[index],
            conv_a_padding=halves(kernel_a) if is_single(kernel_a) else [halves(kernel) for kernel in kernel_a],
            conv_b_kernel_size=kernel_b, conv_b_stride=strides_b[index],
            conv_b_padding=_dilated_padding(kernel_b, dilation), conv_b_num_groups=groups[index],
            conv_b_dilation=dilation, **norms,
        )  # fmt: skip
        stages.append(stage)
    return stages


def dims_of(width: int, *, inner: int = 4) -> list[tuple[int, int, int]]:
    """Returns the channels of four stages behind a stem of this width, see `create_stages`.

    inner: channels behind a stage by those inside of its blocks.
    """
    behind = [width * 4 * 2**stage for stage in range(STAGES)]
    return [(inputs, outputs // inner, outputs) for inputs, outputs in zip([width, *behind], behind, strict=False)]


def _dilated_padding(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, int, int]:
    """Returns the padding of a middle convolution: in space, that of a dilated kernel of three."""
    time, height, width = halves(kernel)
    return time, dilation[1] if dilation[1] > 1 else height, dilation[2] if dilation[2] > 1 else width


def _repeated(key: str, triples: Any, depth: int) -> list[Any]:
    """Repeats one triple, or a list of them, over the blocks of a stage. Raises: ArgumentError for an empty list."""
    if not triples:
        raise ArgumentError(f"{key}: is an empty list; give one triple, or one for each block")
    return [*islice(cycle([triples] if is_single(triples) else triples), depth)]
