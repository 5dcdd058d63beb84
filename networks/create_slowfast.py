"""Offers PyTorchVideo's `create_slowfast` with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from networks.clip.change import (
    ONE,
    STAGES,
    change_stage,
    change_stem,
    head_window,
    per_stage,
    refuse,
    refuse_other,
    replace,
)
from networks.clip.resnet3d import DEPTHS, Pathway
from networks.clip.slowfast import WIDTH, Backbone, Beta, SlowFastNet
from utils.config.build import checked

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
Triples = tuple[Triple, Triple]
PerStage = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
Pool = Callable[..., nn.Module] | None
SPATIAL, TEMPORAL = (1, 3, 3), (3, 1, 1)
_BLOCKS = {18: (1, 1, 1, 1), **DEPTHS}


@checked
def create_slowfast(
    *,
    slowfast_channel_reduction_ratio: Beta | tuple[Beta] = (8,),
    slowfast_conv_channel_fusion_ratio: PositiveInt = 2,
    slowfast_fusion_conv_kernel_size: Triple = (7, 1, 1),
    slowfast_fusion_conv_stride: Triple = (4, 1, 1),
    fusion_builder: Callable[..., nn.Module] | None = None,
    input_channels: tuple[PositiveInt, PositiveInt] = (3, 3),
    model_depth: Literal[18, 50, 101, 152] = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: NonNegativeFloat = 0.5,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    stem_function: Sequence[Callable[..., nn.Module]] | None = None,
    stem_dim_outs: tuple[PositiveInt, PositiveInt] = (64, 8),
    stem_conv_kernel_sizes: Triples = ((1, 7, 7), (5, 7, 7)),
    stem_conv_strides: Triples = ((1, 2, 2), (1, 2, 2)),
    stem_pool: Pool | tuple[Pool, Pool] = (nn.MaxPool3d, nn.MaxPool3d),
    stem_pool_kernel_sizes: Triples = (SPATIAL, SPATIAL),
    stem_pool_strides: Triples = ((1, 2, 2), (1, 2, 2)),
    stage_conv_a_kernel_sizes: Sequence[Any] = ((ONE, ONE, TEMPORAL, TEMPORAL), (TEMPORAL,) * 4),
    stage_conv_b_kernel_sizes: Sequence[Any] = ((SPATIAL,) * 4, (SPATIAL,) * 4),
    stage_conv_b_num_groups: tuple[PerStage, PerStage] = ((1, 1, 1, 1), (1, 1, 1, 1)),
    stage_conv_b_dilations: Sequence[Any] = ((ONE,) * 4, (ONE,) * 4),
    stage_spatial_strides: tuple[PerStage, PerStage] = ((1, 2, 2, 2), (1, 2, 2, 2)),
    stage_temporal_strides: tuple[PerStage, PerStage] = ((1, 1, 1, 1), (1, 1, 1, 1)),
    bottleneck: Any = None,
    head: Callable[..., nn.Module] | None = None,
    head_pool: Callable[..., nn.Module] | None = nn.AvgPool3d,
    head_pool_kernel_sizes: Triples = ((8, 7, 7), (32, 7, 7)),
    head_output_size: Triple = ONE,
    head_activation: Callable[..., nn.Module] | None = None,
    head_output_with_global_average: bool = True,
) -> SlowFastNet:
    """Builds SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982) with random weights: two pathways -> logits (B, K).

    It takes a pair of slow and fast clips, as PyTorchVideo's, or the fast clip alone, from which it picks the slow
    frames. Arguments have PyTorchVideo's names and meaning, a pair has one entry for the slow and one for the fast
    pathway, and `networks.create_resnet` says what those of stages take. Other functions for fusion, stem, bottleneck
    and head, an activation of the head and a head that keeps its positions are refused.

    slowfast_channel_reduction_ratio: channels of the slow pathway by those of the fast one, of which stem_dim_outs has
        those of the stems. slowfast_fusion_conv_kernel_size, slowfast_fusion_conv_stride: frames in time, 1 in space;
        the stride is the number of fast frames for a slow one.
    model_depth: 18 has one block in each stage.
    head_pool_kernel_sizes: the head always averages all frames of each pathway.
    Raises: ValueError that names the argument.
    """
    refuse(
        fusion_builder=fusion_builder, stem_function=stem_function, bottleneck=bottleneck, head=head,
        head_activation=head_activation,
    )  # fmt: skip
    averaged = head_output_with_global_average
    windows = [head_window(head_pool, size, head_output_size, averaged=averaged) for size in head_pool_kernel_sizes]
    pools = stem_pool if isinstance(stem_pool, tuple) else (stem_pool, stem_pool)
    fusion = slowfast_fusion_conv_kernel_size, slowfast_fusion_conv_stride, slowfast_conv_channel_fusion_ratio
    net = _network(model_depth, model_num_class, dropout_rate, slowfast_channel_reduction_ratio, fusion, stem_dim_outs)
    net.head_window = _window(windows)
    stems = zip(
        input_channels, stem_conv_kernel_sizes, stem_conv_strides, pools, stem_pool_kernel_sizes, stem_pool_strides,
        strict=True,
    )  # fmt: skip
    stages = zip(
        stage_conv_a_kernel_sizes, stage_conv_b_kernel_sizes, stage_conv_b_dilations, stage_conv_b_num_groups,
        stage_spatial_strides, stage_temporal_strides, strict=True,
    )  # fmt: skip
    for pathway, stem, stage in zip((net.slow, net.fast), stems, stages, strict=True):
        _change_pathway(pathway, _BLOCKS[model_depth], stem, stage)
    replace(net, norm, activation)
    return net


def _network(
    depth: int,
    num_class: int,
    dropout: float,
    ratio: Beta | tuple[Beta],
    fusion: tuple[Triple, Triple, int],
    widths: tuple[int, int],
) -> SlowFastNet:
    """Builds the network whose pathways are changed then. Raises: ValueError for widths that are not built."""
    beta = ratio if isinstance(ratio, int) else ratio[0]
    kernel, alpha = _frames(*fusion[:2])
    refuse_other(stem_dim_outs=(widths, (WIDTH, WIDTH // beta)))
    return SlowFastNet(
        cast(Backbone, f"resnet{max(depth, 50)}"),
        num_class=num_class,
        alpha=alpha,
        beta=beta,
        fusion_kernel=kernel,
        fusion_ratio=fusion[2],
        dropout=dropout,
    )


def _window(windows: Sequence[Any]) -> Any:
    """Returns the window of both pathways: all frames of each, and the same part of the space."""
    slow, fast = (window[1:] for window in windows)
    if slow != fast:
        raise ValueError("head_pool_kernel_sizes: maps of both pathways have the same size; give windows of one size")
    return None, *slow


def _change_pathway(pathway: Pathway, depths: Sequence[int], stem: Sequence[Any], stage: Sequence[Any]) -> None:
    """Gives a pathway this stem and these stages; a stage keeps its first blocks."""
    inputs, kernel, stride, pool, pool_kernel, pool_stride = stem
    change_stem(
        pathway,
        inputs=inputs,
        kernel=kernel,
        stride=stride,
        pool=pool,
        pool_kernel=pool_kernel,
        pool_stride=pool_stride,
    )
    kernels_a, kernels_b, dilations, groups, spatial, temporal = stage
    kernels_a = per_stage("stage_conv_a_kernel_sizes", kernels_a)
    kernels_b = per_stage("stage_conv_b_kernel_sizes", kernels_b)
    dilations = per_stage("stage_conv_b_dilations", dilations)
    for number in range(STAGES):
        name = f"layer{number + 1}"
        pathway.add_module(name, getattr(pathway, name)[: depths[number]])
        change_stage(
            getattr(pathway, name),
            stride=(temporal[number], spatial[number], spatial[number]),
            kernels=kernels_a[number],
            kernel_b=kernels_b[number],
            dilation=dilations[number],
            groups=groups[number],
        )


def _frames(kernel: Triple, stride: Triple) -> tuple[int, int]:
    """Returns the frames of a lateral convolution and its stride. Raises: ValueError for one that is not in time."""
    for key, value in (("kernel_size", kernel), ("stride", stride)):
        if value[1:] != (1, 1):
            raise ValueError(f"slowfast_fusion_conv_{key}: {value} is not in time alone; give ({value[0]}, 1, 1)")
    if kernel[0] % 2 == 0:
        raise ValueError(f"slowfast_fusion_conv_kernel_size: {kernel[0]} is even; take an odd number of frames")
    return kernel[0], stride[0]
