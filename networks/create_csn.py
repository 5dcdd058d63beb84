"""Offers PyTorchVideo's `create_csn` and `create_r2plus1d` with their arguments, keys and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from networks.clip.resnet3d import DEPTHS, Depth
from networks.pytorchvideo.arguments import (
    CUBE,
    ONE,
    STAGES,
    BlockTriples,
    Build,
    PerStage,
    Probability,
    Triple,
    Triples,
    halves,
    per_stage,
)
from networks.pytorchvideo.bottleneck import create_2plus1d_bottleneck_block, create_bottleneck_block
from networks.pytorchvideo.head import create_res_basic_head
from networks.pytorchvideo.net import Net
from networks.pytorchvideo.res_stage import create_stages, dims_of
from networks.pytorchvideo.stem import create_res_basic_stem
from utils.config.build import ArgumentError, checked


@checked
def create_csn(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: Probability = 0,
    norm: Build | None = nn.BatchNorm3d,
    activation: Build | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (3, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stem_pool: Build | None = None,
    stem_pool_kernel_size: Triple = (1, 3, 3),
    stem_pool_stride: Triple = (1, 2, 2),
    stage_conv_a_kernel_size: Triple = ONE,
    stage_conv_b_kernel_size: Triple = CUBE,
    stage_conv_b_width_per_group: PositiveInt = 1,
    stage_spatial_stride: PerStage = (1, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 2, 2, 2),
    bottleneck: Build = create_bottleneck_block,
    bottleneck_ratio: PositiveInt = 4,
    head_pool: Build | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (1, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Build | None = None,
    head_output_with_global_average: bool = True,
) -> Net:
    """Builds a channel-separated network (Tran et al. 2019, arXiv 1904.02811): clips -> logits (B, K), random weights.

    Arguments are those of `networks.create_resnet`, and

    stage_conv_b_width_per_group: channels of each group of the middle convolutions; 1 keeps channels separate.
    bottleneck_ratio: channels outside of a block by those inside.
    Raises: ArgumentError that names the argument.
    """
    dims, width = dims_of(stem_dim_out, inner=bottleneck_ratio), stage_conv_b_width_per_group
    for _, inner, _ in dims:
        if inner % width:
            raise ArgumentError(f"stage_conv_b_width_per_group: {width} does not divide the {inner} inner channels")
    stem = create_res_basic_stem(
        in_channels=input_channel, out_channels=stem_dim_out, conv_kernel_size=stem_conv_kernel_size,
        conv_stride=stem_conv_stride, conv_padding=halves(stem_conv_kernel_size), pool=stem_pool,
        pool_kernel_size=stem_pool_kernel_size, pool_stride=stem_pool_stride,
        pool_padding=halves(stem_pool_kernel_size), norm=norm, activation=activation,
    )  # fmt: skip
    stages = create_stages(
        DEPTHS[model_depth], dims, bottlenecks=[bottleneck] * STAGES, kernels_a=[stage_conv_a_kernel_size] * STAGES,
        strides_a=[ONE] * STAGES, kernels_b=[stage_conv_b_kernel_size] * STAGES,
        strides_b=_strides(stage_temporal_stride, stage_spatial_stride), groups=[dim[1] // width for dim in dims],
        dilations=[ONE] * STAGES, norm=norm, activation=activation,
    )  # fmt: skip
    head = create_res_basic_head(
        in_features=dims[-1][-1], out_features=model_num_class, pool=head_pool, output_size=head_output_size,
        pool_kernel_size=head_pool_kernel_size, dropout_rate=dropout_rate, activation=head_activation,
        output_with_global_average=head_output_with_global_average,
    )  # fmt: skip
    return Net(blocks=nn.ModuleList([stem, *stages, head]))


@checked
def create_r2plus1d(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: Probability = 0.0,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (1, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stage_conv_a_kernel_size: BlockTriples = (ONE,) * 4,
    stage_conv_b_kernel_size: Triples = (CUBE,) * 4,
    stage_conv_b_num_groups: PerStage = (1, 1, 1, 1),
    stage_conv_b_dilation: Triples = (ONE,) * 4,
    stage_spatial_stride: PerStage = (2, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 2, 2),
    stage_bottleneck: Build | Sequence[Build] = (create_2plus1d_bottleneck_block,) * 4,
    head_pool: Build | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (4, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Build | None = None,
    head_output_with_global_average: bool = True,
) -> Net:
    """Builds R(2+1)D (Tran et al. 2018, arXiv 1711.11248): clips -> logits (B, K), random weights.

    Arguments are those of `networks.create_resnet`. `head_activation` alone has another default than PyTorchVideo's,
    because networks here return logits; nn.Softmax is its. norm_eps and norm_momentum are those of all norms;
    PyTorchVideo does not use these two.

    stage_bottleneck: one for each stage; `create_2plus1d_bottleneck_block` takes groups too, PyTorchVideo's does not.
    Raises: ArgumentError that names the argument.
    """
    dims = dims_of(stem_dim_out)
    norms: dict[str, Any] = {
        "norm": norm,
        "norm_eps": norm_eps,
        "norm_momentum": norm_momentum,
        "activation": activation,
    }
    stem = create_res_basic_stem(
        in_channels=input_channel, out_channels=stem_dim_out, conv_kernel_size=stem_conv_kernel_size,
        conv_stride=stem_conv_stride, conv_padding=halves(stem_conv_kernel_size), pool=None, **norms,
    )  # fmt: skip
    stages = create_stages(
        DEPTHS[model_depth], dims, bottlenecks=per_stage("stage_bottleneck", stage_bottleneck),
        kernels_a=per_stage("stage_conv_a_kernel_size", stage_conv_a_kernel_size), strides_a=[ONE] * STAGES,
        kernels_b=per_stage("stage_conv_b_kernel_size", stage_conv_b_kernel_size),
        strides_b=_strides(stage_temporal_stride, stage_spatial_stride), groups=stage_conv_b_num_groups,
        dilations=per_stage("stage_conv_b_dilation", stage_conv_b_dilation), **norms,
    )  # fmt: skip
    head = create_res_basic_head(
        in_features=dims[-1][-1], out_features=model_num_class, pool=head_pool, output_size=head_output_size,
        pool_kernel_size=head_pool_kernel_size, dropout_rate=dropout_rate, activation=head_activation,
        output_with_global_average=head_output_with_global_average,
    )  # fmt: skip
    return Net(blocks=nn.ModuleList([stem, *stages, head]))


def _strides(temporal: Sequence[int], spatial: Sequence[int]) -> list[tuple[int, int, int]]:
    """Returns the stride of each stage, the same in height and width."""
    return [(time, space, space) for time, space in zip(temporal, spatial, strict=True)]
