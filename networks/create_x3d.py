"""Offers PyTorchVideo's `create_x3d` with its arguments, keys and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from networks.clip.x3d import DEPTHS, EXPANSION, HEAD, SE_RATIO
from networks.pytorchvideo.arguments import CUBE, Build, PerStage, Probability, Triple, Triples, halves, per_stage
from networks.pytorchvideo.layers import Swish, round_repeats, round_width
from networks.pytorchvideo.net import Net
from networks.pytorchvideo.x3d import (
    STRIDE,
    create_x3d_bottleneck_block,
    create_x3d_head,
    create_x3d_res_stage,
    create_x3d_stem,
)
from utils.config.build import ArgumentError, checked


@checked
def create_x3d(
    *,
    input_channel: PositiveInt = 3,
    input_clip_length: PositiveInt = 13,
    input_crop_size: PositiveInt = 160,
    model_num_class: PositiveInt = 400,
    dropout_rate: Probability = 0.5,
    width_factor: PositiveFloat = 2.0,
    depth_factor: PositiveFloat = 2.2,
    norm: Build | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Build | None = nn.ReLU,
    stem_dim_in: PositiveInt = 12,
    stem_conv_kernel_size: Triple = (5, 3, 3),
    stem_conv_stride: Triple = STRIDE,
    stage_conv_kernel_size: Triples = (CUBE,) * 4,
    stage_spatial_stride: PerStage = (2, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 1, 1),
    bottleneck: Build = create_x3d_bottleneck_block,
    bottleneck_factor: PositiveFloat = EXPANSION,
    se_ratio: NonNegativeFloat = SE_RATIO,
    inner_act: Build | None = Swish,
    head_dim_out: PositiveInt = HEAD,
    head_pool_act: Build | None = nn.ReLU,
    head_bn_lin5_on: bool = False,
    head_activation: Build | None = None,
    head_output_with_global_average: bool = True,
) -> Net:
    """Builds X3D (Feichtenhofer 2020, arXiv 2004.04730) with random weights: clips -> logits (B, K).

    input_clip_length, input_crop_size: of a clip in training; the head averages windows of its size.
    width_factor, depth_factor: of the channels and the blocks of the stages; XS, S and M have 2.2 for depth, L has 5.
    norm_eps, norm_momentum: of all norms; PyTorchVideo leaves out those of the shortcuts.
    stem_dim_in: channels of the stem, and of the first stage, without the factor; stages have twice those before them.
    bottleneck, se_ratio, inner_act: see `create_x3d_res_block`. bottleneck_factor: channels inside by those outside.
    head_...: see `create_x3d_head`. norm, activation: see `networks.create_resnet`.
    Raises: ArgumentError that names the argument.
    """
    kernels = per_stage("stage_conv_kernel_size", stage_conv_kernel_size)
    strides = [*zip(stage_temporal_stride, stage_spatial_stride, stage_spatial_stride, strict=True)]
    window = _window(input_clip_length, input_crop_size, [tuple(stem_conv_stride), *strides])
    norms: dict[str, Any] = {"norm": norm, "norm_eps": norm_eps, "norm_momentum": norm_momentum}
    outputs = round_width(stem_dim_in, width_factor)
    blocks: list[nn.Module] = [
        create_x3d_stem(
            in_channels=input_channel, out_channels=outputs, conv_kernel_size=stem_conv_kernel_size,
            conv_stride=stem_conv_stride, conv_padding=halves(stem_conv_kernel_size), activation=activation, **norms,
        )
    ]  # fmt: skip
    base = stem_dim_in
    for depth, kernel, stride in zip(DEPTHS, kernels, strides, strict=True):
        inputs, outputs = outputs, round_width(base, width_factor)
        inner, base = int(bottleneck_factor * outputs), round_width(base, 2.0)
        stage = create_x3d_res_stage(
            depth=round_repeats(depth, depth_factor), dim_in=inputs, dim_inner=inner, dim_out=outputs,
            bottleneck=bottleneck, conv_kernel_size=kernel, conv_stride=stride, se_ratio=se_ratio,
            activation=activation, inner_act=inner_act, **norms,
        )  # fmt: skip
        blocks.append(stage)
    head = create_x3d_head(
        dim_in=outputs, dim_inner=inner, dim_out=head_dim_out, num_classes=model_num_class, pool_act=head_pool_act,
        pool_kernel_size=window, bn_lin5_on=head_bn_lin5_on, dropout_rate=dropout_rate, activation=head_activation,
        output_with_global_average=head_output_with_global_average, **norms,
    )  # fmt: skip
    return Net(blocks=nn.ModuleList([*blocks, head]))


def _window(length: int, crop: int, strides: Sequence[tuple[int, ...]]) -> tuple[int, int, int]:
    """Returns the features of a clip of this size. Raises: ArgumentError for one that is smaller than the strides."""
    time, space = (math.prod(stride[axis] for stride in strides) for axis in (0, 1))
    for key, value, stride in (("input_clip_length", length, time), ("input_crop_size", crop, space)):
        if value < stride:
            raise ArgumentError(f"{key}: {value} is smaller than the strides of the network, {stride} altogether")
    side = math.ceil(crop / space)
    return length // time, side, side
