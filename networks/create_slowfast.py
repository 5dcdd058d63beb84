"""Offers PyTorchVideo's `create_slowfast` with its arguments, keys and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import PositiveInt
from torch import nn

from networks.clip.resnet3d import DEPTHS
from networks.pytorchvideo.arguments import (
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
from networks.pytorchvideo.bottleneck import SPATIAL, TEMPORAL, create_bottleneck_block
from networks.pytorchvideo.fuse_fast import FastToSlowFusionBuilder
from networks.pytorchvideo.head import create_res_basic_head
from networks.pytorchvideo.net import MultiPathWayWithFuse, Net, PoolConcatPathway
from networks.pytorchvideo.refused import detector
from networks.pytorchvideo.res_stage import create_stages, dims_of
from networks.pytorchvideo.stem import create_res_basic_stem
from utils.config.build import ArgumentError, checked

Counts = Sequence[PositiveInt]
_BLOCKS = {18: (1, 1, 1, 1), **DEPTHS}


@checked
def create_slowfast(
    *,
    slowfast_channel_reduction_ratio: PositiveInt | Counts = (8,),
    slowfast_conv_channel_fusion_ratio: PositiveInt = 2,
    slowfast_fusion_conv_kernel_size: Triple = (7, 1, 1),
    slowfast_fusion_conv_stride: Triple = (4, 1, 1),
    fusion_builder: Build | None = None,
    input_channels: Counts = (3, 3),
    model_depth: Literal[18, 50, 101, 152] = 50,
    model_num_class: PositiveInt = 400,
    dropout_rate: Probability = 0.5,
    norm: Build | None = nn.BatchNorm3d,
    activation: Build | None = nn.ReLU,
    stem_function: Sequence[Build] = (create_res_basic_stem,) * 2,
    stem_dim_outs: Counts = (64, 8),
    stem_conv_kernel_sizes: Sequence[Triple] = ((1, 7, 7), (5, 7, 7)),
    stem_conv_strides: Sequence[Triple] = ((1, 2, 2),) * 2,
    stem_pool: Build | Sequence[Build | None] | None = (nn.MaxPool3d,) * 2,
    stem_pool_kernel_sizes: Sequence[Triple] = (SPATIAL,) * 2,
    stem_pool_strides: Sequence[Triple] = ((1, 2, 2),) * 2,
    stage_conv_a_kernel_sizes: Sequence[BlockTriples] = ((ONE, ONE, TEMPORAL, TEMPORAL), (TEMPORAL,) * 4),
    stage_conv_b_kernel_sizes: Sequence[Triples] = ((SPATIAL,) * 4,) * 2,
    stage_conv_b_num_groups: Sequence[PerStage] = ((1, 1, 1, 1),) * 2,
    stage_conv_b_dilations: Sequence[Triples] = ((ONE,) * 4,) * 2,
    stage_spatial_strides: Sequence[PerStage] = ((1, 2, 2, 2),) * 2,
    stage_temporal_strides: Sequence[PerStage] = ((1, 1, 1, 1),) * 2,
    bottleneck: Build | Sequence[Build | Sequence[Build]] = ((create_bottleneck_block,) * 4,) * 2,
    head: Build | None = create_res_basic_head,
    head_pool: Build | None = nn.AvgPool3d,
    head_pool_kernel_sizes: Sequence[Triple] = ((8, 7, 7), (32, 7, 7)),
    head_output_size: Triple = ONE,
    head_activation: Build | None = None,
    head_output_with_global_average: bool = True,
) -> Net:
    """Builds SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982) with random weights: clips -> logits (B, K).

    It takes a list with one clip for each pathway, the slow one first. Arguments of stems, stages and pools have one
    entry for each pathway, and mean what those of `networks.create_resnet` mean.

    slowfast_...: see `FastToSlowFusionBuilder`. fusion_builder: called with fusion_dim_in and stage_idx instead.
    model_depth: 18 has one block in each stage.
    Raises: ArgumentError that names the argument.
    """
    each = _by_pathway(
        input_channels=input_channels, stem_function=stem_function, stem_dim_outs=stem_dim_outs,
        stem_conv_kernel_sizes=stem_conv_kernel_sizes, stem_conv_strides=stem_conv_strides, stem_pool=stem_pool,
        stem_pool_kernel_sizes=stem_pool_kernel_sizes, stem_pool_strides=stem_pool_strides,
        stage_conv_a_kernel_sizes=stage_conv_a_kernel_sizes, stage_conv_b_kernel_sizes=stage_conv_b_kernel_sizes,
        stage_conv_b_num_groups=stage_conv_b_num_groups, stage_conv_b_dilations=stage_conv_b_dilations,
        stage_spatial_strides=stage_spatial_strides, stage_temporal_strides=stage_temporal_strides,
        bottleneck=bottleneck, head_pool_kernel_sizes=head_pool_kernel_sizes,
    )  # fmt: skip
    given = slowfast_channel_reduction_ratio
    ratios = given if isinstance(given, Sequence) else (given,)
    dims = _dims(stem_dim_outs, ratios, slowfast_conv_channel_fusion_ratio)
    norms: dict[str, Any] = {"norm": norm, "activation": activation}
    paths = [_pathway(_BLOCKS[model_depth], *of_it, **norms) for of_it in zip(dims, each, strict=True)]
    fuse = fusion_builder or FastToSlowFusionBuilder(
        ratios[0], slowfast_conv_channel_fusion_ratio, slowfast_fusion_conv_kernel_size,
        slowfast_fusion_conv_stride, max_stage_idx=STAGES - 1, **norms,
    ).create_module  # fmt: skip
    blocks = _fused(paths, fuse, [stem_dim_outs[0], *(outputs for _, _, outputs in dims[0])])
    blocks.append(_joined(head_pool, head_pool_kernel_sizes, head_output_size))
    if head is not None:
        blocks.append(head(
            in_features=sum(stages[-1][-1] for stages in dims), out_features=model_num_class, pool=None,
            output_size=head_output_size, dropout_rate=dropout_rate, activation=head_activation,
            output_with_global_average=head_output_with_global_average,
        ))  # fmt: skip
    return Net(blocks=nn.ModuleList(blocks))


create_slowfast_with_roi_head = detector("create_slowfast_with_roi_head", "create_slowfast")


def _by_pathway(**values: Any) -> list[dict[str, Any]]:
    """Returns the arguments of each pathway. Raises: ArgumentError for another number of entries than pathways."""
    pathways = len(values["input_channels"])
    for key, value in values.items():
        if value is None or callable(value):
            values[key] = [value] * pathways
        elif len(value) != pathways:
            raise ArgumentError(f"{key}: has {len(value)} entries; give one for each of the {pathways} pathways")
    return [{key: value[index] for key, value in values.items()} for index in range(pathways)]


def _dims(stems: Counts, ratios: Counts, fusion: int) -> list[list[tuple[int, int, int]]]:
    """Returns the channels of the stages of each pathway, see `create_stages`.

    stems: channels of the stems. ratios: channels of the slow pathway by those of each other one. fusion: channels that
    fusion appends to the slow pathway, by those of the first other one.
    Raises: ArgumentError for stems that do not fit the ratios.
    """
    if not ratios:
        raise ArgumentError("slowfast_channel_reduction_ratio: is empty; give one for each pathway but the slow one")
    slow = stems[0]
    for ratio in ratios:
        if slow % ratio:
            raise ArgumentError(
                f"slowfast_channel_reduction_ratio: {ratio} does not divide the {slow} channels of stem_dim_outs"
            )
    wanted = (slow, *(slow // ratio for ratio in ratios))
    if tuple(stems) != wanted:
        raise ArgumentError(
            f"stem_dim_outs: is {tuple(stems)}, but slowfast_channel_reduction_ratio {tuple(ratios)} asks for {wanted}"
        )
    dims = [[(inputs + inputs * fusion // ratios[0], inner, outputs) for inputs, inner, outputs in dims_of(slow)]]
    return dims + [[(a // ratio, b // ratio, c // ratio) for a, b, c in dims_of(slow)] for ratio in ratios]


def _pathway(
    depths: Sequence[int], dims: Sequence[tuple[int, int, int]], own: dict[str, Any], **norms: Any
) -> list[nn.Module]:
    """Builds the stem and the stages of one pathway from its arguments."""
    stem = own["stem_function"](
        in_channels=own["input_channels"],
        out_channels=own["stem_dim_outs"],
        conv_kernel_size=own["stem_conv_kernel_sizes"],
        conv_stride=own["stem_conv_strides"],
        conv_padding=halves(own["stem_conv_kernel_sizes"]),
        pool=own["stem_pool"],
        pool_kernel_size=own["stem_pool_kernel_sizes"],
        pool_stride=own["stem_pool_strides"],
        pool_padding=halves(own["stem_pool_kernel_sizes"]),
        **norms,
    )
    stages = create_stages(
        depths,
        dims,
        bottlenecks=per_stage("bottleneck", own["bottleneck"]),
        kernels_a=per_stage("stage_conv_a_kernel_sizes", own["stage_conv_a_kernel_sizes"]),
        strides_a=[(stride, 1, 1) for stride in own["stage_temporal_strides"]],
        kernels_b=per_stage("stage_conv_b_kernel_sizes", own["stage_conv_b_kernel_sizes"]),
        strides_b=[(1, stride, stride) for stride in own["stage_spatial_strides"]],
        groups=own["stage_conv_b_num_groups"],
        dilations=per_stage("stage_conv_b_dilations", own["stage_conv_b_dilations"]),
        **norms,
    )
    return [stem, *stages]


def _fused(paths: Sequence[Sequence[nn.Module]], fuse: Build, dims: Sequence[int]) -> list[nn.Module]:
    """Builds the blocks of all pathways together; the list of clips that is given stays as it is.

    dims: channels of the slow pathway behind its stem and its stages.
    """
    return [
        MultiPathWayWithFuse(
            multipathway_blocks=nn.ModuleList(blocks),
            multipathway_fusion=fuse(fusion_dim_in=dim, stage_idx=index),
            inplace=False,
        )
        for index, (dim, *blocks) in enumerate(zip(dims, *paths, strict=True))
    ]


def _joined(pool: Build | None, kernels: Sequence[Triple], size: Triple) -> PoolConcatPathway:
    """Builds what pools and joins the pathways."""
    if pool is None:
        return PoolConcatPathway()
    pools: list[nn.Module]
    if pool is nn.AdaptiveAvgPool3d:
        pools = [pool(size) for _ in kernels]
    else:
        pools = [pool(kernel_size=tuple(kernel), stride=ONE, padding=(0, 0, 0)) for kernel in kernels]
    return PoolConcatPathway(pool=nn.ModuleList(pools))
