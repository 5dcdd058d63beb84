"""Offers PyTorchVideo's `create_resnet` with its arguments, keys and outputs, and its network over spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import PositiveInt
from torch import nn

from networks.clip.resnet3d import DEPTHS, Depth
from networks.pytorchvideo.arguments import (
    ONE,
    BlockTriples,
    Build,
    PerStage,
    Probability,
    Triple,
    Triples,
    halves,
    per_stage,
)
from networks.pytorchvideo.bottleneck import (
    SPATIAL,
    TEMPORAL,
    create_acoustic_bottleneck_block,
    create_bottleneck_block,
)
from networks.pytorchvideo.head import create_res_basic_head
from networks.pytorchvideo.net import Net
from networks.pytorchvideo.refused import detector
from networks.pytorchvideo.res_stage import create_stages, dims_of
from networks.pytorchvideo.stem import create_acoustic_res_basic_stem, create_res_basic_stem
from utils.config.build import checked


@checked
def create_resnet(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: Probability = 0.5,
    norm: Build | None = nn.BatchNorm3d,
    activation: Build | None = nn.ReLU,
    stem_dim_out: PositiveInt = 64,
    stem_conv_kernel_size: Triple = (3, 7, 7),
    stem_conv_stride: Triple = (1, 2, 2),
    stem_pool: Build | None = nn.MaxPool3d,
    stem_pool_kernel_size: Triple = SPATIAL,
    stem_pool_stride: Triple = (1, 2, 2),
    stem: Build = create_res_basic_stem,
    stage1_pool: Build | None = None,
    stage1_pool_kernel_size: Triple = (2, 1, 1),
    stage_conv_a_kernel_size: BlockTriples = (ONE, ONE, TEMPORAL, TEMPORAL),
    stage_conv_b_kernel_size: Triples = (SPATIAL,) * 4,
    stage_conv_b_num_groups: PerStage = (1, 1, 1, 1),
    stage_conv_b_dilation: Triples = (ONE,) * 4,
    stage_spatial_h_stride: PerStage = (1, 2, 2, 2),
    stage_spatial_w_stride: PerStage = (1, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 1, 1),
    bottleneck: Build | Sequence[Build] = create_bottleneck_block,
    head: Build | None = create_res_basic_head,
    head_pool: Build | None = nn.AvgPool3d,
    head_pool_kernel_size: Triple = (4, 7, 7),
    head_output_size: Triple = ONE,
    head_activation: Build | None = None,
    head_output_with_global_average: bool = True,
) -> Net:
    """Builds a 3-D ResNet with random weights: clips (B, input_channel, T, H, W) -> logits (B, model_num_class).

    norm: called with num_features, eps and momentum, or with the channels alone. activation: called without arguments.
    stem_pool, stage1_pool: called with kernel_size, stride and padding. None leaves any of these out.
    stem, bottleneck, head: called with the arguments of `create_res_basic_stem`, `create_bottleneck_block` (one, or
        four for the stages) and `create_res_basic_head`. Without a head, the network returns features.
    stage_...: four values, one for each stage. A kernel or dilation may be one triple for all; conv_a may have a list
        of triples for a stage, which is repeated over its blocks.
    head_...: see `create_res_basic_head`; the window of head_pool must not be larger than the features.
    Raises: ArgumentError that names the argument.
    """
    blocks = [
        stem(
            in_channels=input_channel, out_channels=stem_dim_out, conv_kernel_size=stem_conv_kernel_size,
            conv_stride=stem_conv_stride, conv_padding=halves(stem_conv_kernel_size), pool=stem_pool,
            pool_kernel_size=stem_pool_kernel_size, pool_stride=stem_pool_stride,
            pool_padding=halves(stem_pool_kernel_size), norm=norm, activation=activation,
        ),
        *create_stages(
            DEPTHS[model_depth], dims_of(stem_dim_out), bottlenecks=per_stage("bottleneck", bottleneck),
            kernels_a=per_stage("stage_conv_a_kernel_size", stage_conv_a_kernel_size),
            strides_a=[(stride, 1, 1) for stride in stage_temporal_stride],
            kernels_b=per_stage("stage_conv_b_kernel_size", stage_conv_b_kernel_size),
            strides_b=[(1, *pair) for pair in zip(stage_spatial_h_stride, stage_spatial_w_stride, strict=True)],
            groups=stage_conv_b_num_groups, dilations=per_stage("stage_conv_b_dilation", stage_conv_b_dilation),
            norm=norm, activation=activation,
        ),
    ]  # fmt: skip
    if stage1_pool is not None:
        size = tuple(stage1_pool_kernel_size)
        blocks.insert(2, stage1_pool(kernel_size=size, stride=size, padding=(0, 0, 0)))
    if head is not None:
        blocks += [head(
            in_features=stem_dim_out * 32, out_features=model_num_class, pool=head_pool, output_size=head_output_size,
            pool_kernel_size=head_pool_kernel_size, dropout_rate=dropout_rate, activation=head_activation,
            output_with_global_average=head_output_with_global_average,
        )]  # fmt: skip
    return Net(blocks=nn.ModuleList(blocks))


# its defaults for spectrograms (B, 1, T, 1, frequencies)
create_acoustic_resnet = partial(
    create_resnet,
    input_channel=1,
    stem_conv_kernel_size=(9, 1, 9),
    stem_conv_stride=(1, 1, 3),
    stem_pool=None,
    stem_pool_kernel_size=(3, 1, 3),
    stem_pool_stride=(2, 1, 2),
    stem=create_acoustic_res_basic_stem,
    stage_conv_a_kernel_size=TEMPORAL,
    stage_conv_b_kernel_size=(3, 1, 3),
    stage_conv_b_dilation=ONE,
    stage_spatial_h_stride=(1, 1, 1, 1),
    stage_spatial_w_stride=(1, 2, 2, 2),
    stage_temporal_stride=(1, 2, 2, 2),
    bottleneck=(create_acoustic_bottleneck_block,) * 2 + (create_bottleneck_block,) * 2,
    head_pool_kernel_size=(4, 1, 2),
)

create_resnet_with_roi_head = detector("create_resnet_with_roi_head", "create_resnet")
