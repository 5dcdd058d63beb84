"""Offers PyTorchVideo's `create_x3d` with its arguments; by default it is `x3d_s` of CLIP_NETWORKS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from networks.clip.change import changed_conv, refuse, refuse_other, replace
from networks.clip.x3d import EXPANSION, HEAD, STEM, X3D, SqueezeExcitation, X3DBlock
from utils.config.build import checked

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
PerStage = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
CUBE = (3, 3, 3)
_WIDTH, _SE = 2.0, 1 / 16  # the factors of the published networks, which x3d.py has


@checked
def create_x3d(
    *,
    input_channel: PositiveInt = 3,
    input_clip_length: PositiveInt = 13,
    input_crop_size: PositiveInt = 160,
    model_num_class: PositiveInt = 400,
    dropout_rate: NonNegativeFloat = 0.5,
    width_factor: PositiveFloat = _WIDTH,
    depth_factor: PositiveFloat = 2.2,
    norm: Callable[[int], nn.Module] | None = nn.BatchNorm3d,
    norm_eps: PositiveFloat = 1e-5,
    norm_momentum: NonNegativeFloat = 0.1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    stem_dim_in: PositiveInt = 12,
    stem_conv_kernel_size: Triple = (5, 3, 3),
    stem_conv_stride: Triple = (1, 2, 2),
    stage_conv_kernel_size: tuple[Triple, Triple, Triple, Triple] = (CUBE,) * 4,
    stage_spatial_stride: PerStage = (2, 2, 2, 2),
    stage_temporal_stride: PerStage = (1, 1, 1, 1),
    bottleneck: Callable[..., nn.Module] | None = None,
    bottleneck_factor: PositiveFloat = EXPANSION,
    se_ratio: NonNegativeFloat = _SE,
    inner_act: Callable[[], nn.Module] | None = nn.SiLU,
    head_dim_out: PositiveInt = HEAD,
    head_pool_act: Callable[[], nn.Module] | None = nn.ReLU,
    head_bn_lin5_on: bool = False,
    head_activation: Callable[..., nn.Module] | None = None,
    head_output_with_global_average: bool = True,
) -> X3D:
    """Builds X3D (Feichtenhofer 2020, arXiv 2004.04730) with random weights: clips -> logits (B, K).

    Arguments have PyTorchVideo's names and meaning. Another bottleneck, an activation of the head, a head that keeps
    its positions, a norm behind the head's features, and other widths than those of the published networks are refused.

    input_clip_length, input_crop_size: of a clip in training; the head averages windows of its size.
    depth_factor: of the blocks of the stages, 2.2 for XS, S and M, 5 for L.
    se_ratio: 1/16, or 0 for no squeeze and excitation.
    norm_eps, norm_momentum: of all norms; PyTorchVideo leaves out those of the shortcuts.
    inner_act, head_pool_act: called without arguments, as `activation`; None leaves activations out.
    Raises: ValueError that names the argument.
    """
    refuse(bottleneck=bottleneck, head_activation=head_activation)
    refuse_other(
        width_factor=(width_factor, _WIDTH),
        stem_dim_in=(stem_dim_in, round(STEM / _WIDTH)),
        bottleneck_factor=(bottleneck_factor, EXPANSION),
        head_dim_out=(head_dim_out, HEAD),
        head_bn_lin5_on=(head_bn_lin5_on, False),
        head_output_with_global_average=(head_output_with_global_average, True),
        se_ratio=(se_ratio or _SE, _SE),
    )
    strides = [*zip(stage_temporal_stride, stage_spatial_stride, stage_spatial_stride, strict=True)]
    net = X3D(depth_factor, num_class=model_num_class, dropout=dropout_rate, first_shortcut_norm=False)
    net.head_window = _window(input_clip_length, input_crop_size, [stem_conv_stride, *strides])
    _change_stem(net, input_channel, stem_conv_kernel_size, stem_conv_stride)
    for stage, (kernel, stride) in enumerate(zip(stage_conv_kernel_size, strides, strict=True)):
        _change_stage(getattr(net, f"layer{stage + 1}"), kernel, stride)
    replace(net, norm, activation, eps=norm_eps, momentum=norm_momentum)
    for module in net.modules():  # what `activation` is not for
        if isinstance(module, SqueezeExcitation):
            module.relu = nn.ReLU(inplace=True)
        elif isinstance(module, X3DBlock):
            module.add_module("swish", nn.Identity() if inner_act is None else inner_act())
            module.se = module.se if se_ratio else nn.Identity()
    net.add_module("head_act", nn.Identity() if head_pool_act is None else head_pool_act())
    return net


def _change_stem(net: X3D, inputs: int, kernel: Triple, stride: Triple) -> None:
    """Gives the convolution in space and the one in time their parts of the kernel and the stride."""
    time, height, width = kernel
    net.conv1_s = changed_conv(net.conv1_s, inputs=inputs, kernel=(1, height, width), stride=(1, *stride[1:]))
    net.conv1_t = changed_conv(net.conv1_t, kernel=(time, 1, 1), stride=(stride[0], 1, 1), groups=STEM)


def _change_stage(blocks: Iterable[Any], kernel: Triple, stride: Triple) -> None:
    """Gives the middle convolutions this kernel, and the first block this stride; without one it has no shortcut."""
    for index, block in enumerate(blocks):
        here = stride if index == 0 else (1, 1, 1)
        block.conv2 = changed_conv(block.conv2, kernel=kernel, stride=here, groups=block.conv2.in_channels)
        if block.downsample is not None:
            conv = block.downsample[0]
            same = conv.in_channels == conv.out_channels and max(here) == 1
            block.downsample = None if same else block.downsample
            conv.stride = here


def _window(length: int, crop: int, strides: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Returns the features of a clip of this size. Raises: ValueError for one that is smaller than the strides."""
    time, space = (math.prod(stride[axis] for stride in strides) for axis in (0, 1))
    for key, value, stride in (("input_clip_length", length, time), ("input_crop_size", crop, space)):
        if value < stride:
            raise ValueError(f"{key}: {value} is smaller than the strides of the network, {stride} altogether")
    side = math.ceil(crop / space)
    return length // time, side, side
