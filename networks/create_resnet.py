"""Offers PyTorchVideo's `create_resnet` with its arguments; by default it is `create_resnet_r50` of CLIP_NETWORKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from pydantic import PositiveInt
from torch import nn

from networks.clip.resnet3d import DEPTHS, Depth, ResNet3d, Stages, same_conv
from utils.config.build import checked

Triple = tuple[PositiveInt, PositiveInt, PositiveInt]
PerStage = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
ONE, SPATIAL, TEMPORAL = (1, 1, 1), (1, 3, 3), (3, 1, 1)
STAGES = 4


@checked
def create_resnet(
    *,
    input_channel: PositiveInt = 3,
    model_depth: Depth = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: float = 0.5,
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
    head_pool: Callable[..., nn.Module] = nn.AvgPool3d,
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
        averages all features.
    Raises: ValueError that names the argument.
    """
    _refuse(stem=stem, bottleneck=bottleneck, head=head, head_activation=head_activation)
    _refuse_head(head_pool, head_output_size, averaged=head_output_with_global_average)
    stages = Stages(DEPTHS[model_depth], stem_dim_out, stem_kernel=stem_conv_kernel_size)
    net = ResNet3d(stages, num_class=model_num_class, dropout=dropout_rate)
    net.head_window = head_pool_kernel_size if head_pool is nn.AvgPool3d else (None, None, None)
    net.conv1 = _conv(net.conv1, inputs=input_channel, stride=stem_conv_stride)
    padding = tuple(size // 2 for size in stem_pool_kernel_size)
    net.add_module("maxpool", _pool(stem_pool, stem_pool_kernel_size, stem_pool_stride, padding))
    net.add_module("pool_t", _pool(stage1_pool, stage1_pool_kernel_size, stage1_pool_kernel_size, (0, 0, 0)))
    kernels_a = _per_stage("stage_conv_a_kernel_size", stage_conv_a_kernel_size)
    kernels_b = _per_stage("stage_conv_b_kernel_size", stage_conv_b_kernel_size)
    dilations = _per_stage("stage_conv_b_dilation", stage_conv_b_dilation)
    strides = [*zip(stage_temporal_stride, stage_spatial_h_stride, stage_spatial_w_stride, strict=True)]
    for stage in range(STAGES):
        middle = {"kernel": kernels_b[stage], "dilation": dilations[stage], "groups": stage_conv_b_num_groups[stage]}
        _change_stage(getattr(net, f"layer{stage + 1}"), strides[stage], kernels_a[stage], middle)
    _replace(net, norm, activation)
    return net


def _change_stage(blocks: Any, stride: Sequence[int], kernels: Any, middle: Mapping[str, Any]) -> None:
    """Gives the blocks of a stage these strides and kernels. kernels: of the first convolutions, repeated over blocks.

    middle: arguments of the second convolutions.
    """
    several = [kernels] if isinstance(kernels[0], int) else kernels
    for index, (block, kernel) in enumerate(zip(blocks, islice(cycle(several), len(blocks)), strict=True)):
        time, *space = stride if index == 0 else ONE
        block.conv1 = _conv(block.conv1, kernel=kernel, stride=(time, 1, 1))
        block.conv2 = _conv(block.conv2, stride=(1, *space), **middle)
        if block.downsample is not None:
            block.downsample[0] = _conv(block.downsample[0], stride=(time, *space))


def _refuse_head(head_pool: Any, output_size: Any, *, averaged: bool) -> None:
    """Raises ValueError for a head that does not average all positions."""
    if not averaged or output_size != ONE:
        key = "head_output_size" if averaged else "head_output_with_global_average"
        raise ValueError(f"{key}: the head here averages all positions; take forward_features for a map of them")
    if head_pool not in (nn.AvgPool3d, nn.AdaptiveAvgPool3d):
        raise ValueError("head_pool: the head here averages; take nn.AvgPool3d or nn.AdaptiveAvgPool3d")


def _refuse(**functions: Callable[..., nn.Module] | None) -> None:
    for key, function in functions.items():
        if function is not None:
            why = "networks here return logits" if key == "head_activation" else "the network here has its own"
            raise ValueError(f"{key}: {why}; leave it out")


def _per_stage(key: str, value: Any) -> Sequence[Any]:
    """Returns one value for each stage. Raises: ValueError for another number of them."""
    found = [value] * STAGES if isinstance(value[0], int) else value
    if len(found) != STAGES:
        raise ValueError(
            f"{key}: has {len(found)} entries; give one triple, or one entry for each of the {STAGES} stages"
        )
    return found


def _pool(kind: Callable[..., nn.Module] | None, kernel: Any, stride: Any, padding: Any) -> nn.Module:
    return nn.Identity() if kind is None else kind(kernel_size=kernel, stride=stride, padding=padding)


def _conv(
    old: nn.Conv3d,
    *,
    inputs: int | None = None,
    kernel: Any = None,
    stride: Any = ONE,
    dilation: Any = ONE,
    groups: int = 1,
) -> nn.Conv3d:
    """Returns a convolution with these numbers in place of `old`, which stays if its weights have the same shape."""
    inputs, kernel = inputs or old.in_channels, tuple(kernel or old.kernel_size)
    new = old
    if (inputs, kernel, groups) != (old.in_channels, tuple(old.kernel_size), old.groups):
        if inputs % groups or old.out_channels % groups:
            raise ValueError(f"stage_conv_b_num_groups: {groups} does not divide the {inputs} channels of a block")
        new = same_conv(inputs, old.out_channels, kernel, groups=groups)
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    padding = [kernel[0] // 2]
    padding += [wide if wide > 1 else size // 2 for size, wide in zip(kernel[1:], dilation[1:], strict=True)]
    new.stride, new.dilation, new.padding = tuple(stride), tuple(dilation), tuple(padding)
    return new


def _replace(
    net: nn.Module, norm: Callable[[int], nn.Module] | None, activation: Callable[[], nn.Module] | None
) -> None:
    """Puts other norms and activations in the place of all batch norms and ReLUs."""
    for module in [*net.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm3d) and norm is not nn.BatchNorm3d:
                module.add_module(name, nn.Identity() if norm is None else norm(child.num_features))
            elif isinstance(child, nn.ReLU) and activation is not nn.ReLU:
                module.add_module(name, nn.Identity() if activation is None else activation())
