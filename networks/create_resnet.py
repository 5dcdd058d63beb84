"""Offers PyTorchVideo's `create_resnet` with its arguments; by default it is `create_resnet_r50` of CLIP_NETWORKS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from networks.clip.change import (
    ONE,
    change_stage,
    change_stem,
    head_window,
    made_pool,
    per_stage,
    refuse,
    replace,
)
from networks.clip.resnet3d import DEPTHS, Depth, ResNet3d, Stages
from utils.config.build import checked

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
PerStage = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
SPATIAL, TEMPORAL = (1, 3, 3), (3, 1, 1)


@checked
def create_resnet(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: NonNegativeFloat = 0.5,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (3, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stem_pool: Callable[..., nn.Module] | None = nn.MaxPool3d,
    stem_pool_kernel_size: Triple = SPATIAL,
    stem_pool_stride: Triple = (1, 2, 2),
    stem: Callable[..., nn.Module] | None = None,
    stage1_pool: Callable[..., nn.Module] | None = None,
    stage1_pool_kernel_size: Triple = (2, 1, 1),
    stage_conv_a_kernel_size: Sequence[Any] = (ONE, ONE, TEMPORAL, TEMPORAL),
    stage_conv_b_kernel_size: Sequence[Any] = (SPATIAL,) * 4,
    stage_conv_b_num_groups: PerStage = (1, 1, 1, 1),
    stage_conv_b_dilation: Sequence[Any] = (ONE,) * 4,
    stage_spatial_h_stride: PerStage = (1, 2, 2, 2),
    stage_spatial_w_stride: PerStage = (1, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 1, 1),
    bottleneck: Callable[..., nn.Module] | None = None,
    head: Callable[..., nn.Module] | None = None,
    head_pool: Callable[..., nn.Module] | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (4, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Callable[..., nn.Module] | None = None,
    head_output_with_global_average: bool = True,
) -> ResNet3d:
    """Builds a 3-D ResNet with random weights: normalised clips (B, input_channel, T, H, W) -> logits (B, K).

    Arguments have PyTorchVideo's names and meaning. Other functions for stem, bottleneck and head than its basic ones,
    an activation of the head, and a head that keeps its positions are refused.

    model_num_class: K.
    norm: called with the number of channels; None leaves norms out.
    activation: called without arguments; None leaves activations out.
    stem_pool, stage1_pool: called with kernel_size, stride and padding; None leaves the pool out.
    stage_...: four values, one for each stage. A kernel or dilation may be one triple for all; conv_a may have a list
        of triples for a stage, which is repeated over its blocks.
    head_pool: nn.AvgPool3d of head_pool_kernel_size, or of all features if there are fewer; nn.AdaptiveAvgPool3d
        averages all features; None classifies each of them.
    Raises: ValueError that names the argument.
    """
    refuse(stem=stem, bottleneck=bottleneck, head=head, head_activation=head_activation)
    window = head_window(head_pool, head_pool_kernel_size, head_output_size, averaged=head_output_with_global_average)
    stages = Stages(DEPTHS[model_depth], stem_dim_out, stem_kernel=stem_conv_kernel_size)
    net = ResNet3d(stages, num_class=model_num_class, dropout=dropout_rate)
    net.head_window = window
    change_stem(
        net, inputs=input_channel, stride=stem_conv_stride, pool=stem_pool, pool_kernel=stem_pool_kernel_size,
        pool_stride=stem_pool_stride,
    )  # fmt: skip
    net.add_module("pool_t", made_pool(stage1_pool, stage1_pool_kernel_size, stage1_pool_kernel_size, (0, 0, 0)))
    kernels_a = per_stage("stage_conv_a_kernel_size", stage_conv_a_kernel_size)
    kernels_b = per_stage("stage_conv_b_kernel_size", stage_conv_b_kernel_size)
    dilations = per_stage("stage_conv_b_dilation", stage_conv_b_dilation)
    strides = [*zip(stage_temporal_stride, stage_spatial_h_stride, stage_spatial_w_stride, strict=True)]
    each = zip(strides, kernels_a, kernels_b, dilations, stage_conv_b_num_groups, strict=True)
    for number, (stride, a, b, dilation, groups) in enumerate(each, 1):
        layer = getattr(net, f"layer{number}")
        change_stage(layer, stride=stride, kernels=a, kernel_b=b, dilation=dilation, groups=groups)
    replace(net, norm, activation)
    return net
