"""Offers PyTorchVideo's `create_csn` and `create_r2plus1d` with their arguments, on the blocks of resnet3d.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from networks.clip.change import ONE, STAGES, change_stage, change_stem, head_window, per_stage, refuse, replace
from networks.clip.resnet3d import DEPTHS, Depth, ResNet3d, Stages
from utils.config.build import checked

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
PerStage = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
CUBE = (3, 3, 3)


@checked
def create_csn(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: NonNegativeFloat = 0,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (3, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stem_pool: Callable[..., nn.Module] | None = None,
    stem_pool_kernel_size: Triple = (1, 3, 3),
    stem_pool_stride: Triple = (1, 2, 2),
    stage_conv_a_kernel_size: Triple = ONE,
    stage_conv_b_kernel_size: Triple = CUBE,
    stage_conv_b_width_per_group: PositiveInt = 1,
    stage_spatial_stride: PerStage = (1, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 2, 2, 2),
    bottleneck: Callable[..., nn.Module] | None = None,
    bottleneck_ratio: PositiveInt = 4,
    head_pool: Callable[..., nn.Module] | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (1, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Callable[..., nn.Module] | None = None,
    head_output_with_global_average: bool = True,
) -> ResNet3d:
    """Builds a channel-separated network (Tran et al. 2019, arXiv 1904.02811): clips -> logits (B, K), random weights.

    Arguments have PyTorchVideo's names and meaning, see `networks.create_resnet`. Another bottleneck, an activation of
    the head and a head that keeps its positions are refused.

    stage_conv_b_width_per_group: channels of each group of the middle convolutions; 1 keeps channels separate.
    bottleneck_ratio: channels outside of a block by those inside.
    Raises: ValueError that names the argument.
    """
    refuse(bottleneck=bottleneck, head_activation=head_activation)
    window = head_window(head_pool, head_pool_kernel_size, head_output_size, averaged=head_output_with_global_average)
    stages = Stages(
        DEPTHS[model_depth], stem_dim_out, bottleneck_ratio, stem_kernel=stem_conv_kernel_size, block="depthwise"
    )
    net = ResNet3d(stages, num_class=model_num_class, dropout=dropout_rate)
    net.head_window = window
    change_stem(
        net,
        inputs=input_channel,
        stride=stem_conv_stride,
        pool=stem_pool,
        pool_kernel=stem_pool_kernel_size,
        pool_stride=stem_pool_stride,
    )
    for stage in range(STAGES):
        inner, width = stages.channels(stage) // bottleneck_ratio, stage_conv_b_width_per_group
        if inner % width:
            raise ValueError(f"stage_conv_b_width_per_group: {width} does not divide the {inner} channels of a block")
        change_stage(
            getattr(net, f"layer{stage + 1}"),
            stride=(stage_temporal_stride[stage], *(stage_spatial_stride[stage],) * 2),
            kernels=stage_conv_a_kernel_size,
            kernel_b=stage_conv_b_kernel_size,
            groups=inner // width,
            late=True,
        )
    replace(net, norm, activation)
    return net


@checked
def create_r2plus1d(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: NonNegativeFloat = 0.0,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (1, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stage_conv_a_kernel_size: Sequence[Any] = (ONE,) * 4,
    stage_conv_b_kernel_size: Sequence[Any] = (CUBE,) * 4,
    stage_conv_b_num_groups: PerStage = (1, 1, 1, 1),
    stage_conv_b_dilation: Sequence[Any] = (ONE,) * 4,
    stage_spatial_stride: PerStage = (2, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 2, 2),
    stage_bottleneck: Sequence[Callable[..., nn.Module]] | None = None,
    head_pool: Callable[..., nn.Module] | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (4, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Callable[..., nn.Module] | None = None,
    head_output_with_global_average: bool = True,
) -> ResNet3d:
    """Builds R(2+1)D (Tran et al. 2018, arXiv 1711.11248): clips -> logits (B, K), random weights.

    Arguments have PyTorchVideo's names and meaning, see `networks.create_resnet`; `head_activation` alone has another
    default, because networks here return logits, and it is refused like another bottleneck and a head that keeps its
    positions. The middle convolution of a block is one in time, a norm, an activation and one in space, which share the
    kernel, the stride, the dilation and the groups. norm_eps and norm_momentum are those of all norms. PyTorchVideo
    does not use these two, and refuses groups.

    Raises: ValueError that names the argument.
    """
    refuse(stage_bottleneck=stage_bottleneck, head_activation=head_activation)
    window = head_window(head_pool, head_pool_kernel_size, head_output_size, averaged=head_output_with_global_average)
    stages = Stages(DEPTHS[model_depth], stem_dim_out, stem_kernel=stem_conv_kernel_size, block="factorised")
    net = ResNet3d(stages, num_class=model_num_class, dropout=dropout_rate)
    net.head_window = window
    change_stem(net, inputs=input_channel, stride=stem_conv_stride, pool=None)
    kernels_a = per_stage("stage_conv_a_kernel_size", stage_conv_a_kernel_size)
    kernels_b = per_stage("stage_conv_b_kernel_size", stage_conv_b_kernel_size)
    dilations = per_stage("stage_conv_b_dilation", stage_conv_b_dilation)
    for stage in range(STAGES):
        change_stage(
            getattr(net, f"layer{stage + 1}"),
            stride=(stage_temporal_stride[stage], *(stage_spatial_stride[stage],) * 2),
            kernels=kernels_a[stage],
            kernel_b=kernels_b[stage],
            dilation=dilations[stage],
            groups=stage_conv_b_num_groups[stage],
            late=True,
        )
    replace(net, norm, activation, eps=norm_eps, momentum=norm_momentum)
    return net
