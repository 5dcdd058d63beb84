"""Builds the heads of PyTorchVideo's networks, which turn features into logits."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import (
    ONE,
    Build,
    Padding,
    Probability,
    Triple,
    apply,
    make_head_activation,
    make_pool,
)
from networks.pytorchvideo.refused import detector
from utils.config.build import ArgumentError, checked


class ResNetBasicHead(nn.Module):
    """Pools features, classifies each position, and averages the positions; None leaves a part out.

    proj: the linear layer that classifies.
    activation: of the class scores, in front of the average.
    output_pool: the average; without it, the head returns a map of class scores.
    """

    def __init__(
        self,
        pool: nn.Module | None = None,
        dropout: nn.Module | None = None,
        proj: nn.Module | None = None,
        activation: nn.Module | None = None,
        output_pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if proj is None:
            raise ArgumentError("proj: is missing; give the linear layer that classifies")
        self.pool = pool
        self.dropout = dropout
        self.proj = proj
        self.activation = activation
        self.output_pool = output_pool

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, C, T, H, W) to logits (B, K), or to (B, K, T', H', W') without output_pool."""
        x = self.proj(apply(x, self.pool, self.dropout).movedim(1, -1)).movedim(-1, 1)
        x = apply(x, self.activation)
        return x if self.output_pool is None else self.output_pool(x).flatten(1)


@checked
def create_res_basic_head(
    *,
    in_features: PositiveInt,
    out_features: PositiveInt,
    pool: Build | None = nn.AvgPool3d,
    output_size: Triple = ONE,
    pool_kernel_size: Triple = (1, 7, 7),
    pool_stride: Triple = ONE,
    pool_padding: Padding = (0, 0, 0),
    dropout_rate: Probability = 0.5,
    activation: Build | None = None,
    output_with_global_average: bool = True,
) -> ResNetBasicHead:
    """Builds the head of a 3-D ResNet: features (B, in_features, T, H, W) -> logits (B, out_features).

    pool: called with kernel_size, stride and padding; nn.AdaptiveAvgPool3d with output_size; None classifies every
        position.
    activation: called without arguments, nn.Softmax for one over the classes.
    output_with_global_average: average the positions; otherwise the head returns a map of them.
    """
    if pool is nn.AdaptiveAvgPool3d:
        pooled: nn.Module | None = nn.AdaptiveAvgPool3d(tuple(output_size))
    else:
        pooled = make_pool(pool, pool_kernel_size, pool_stride, pool_padding)
    return ResNetBasicHead(
        pool=pooled,
        dropout=nn.Dropout(dropout_rate) if dropout_rate > 0 else None,
        proj=nn.Linear(in_features, out_features),
        activation=make_head_activation(activation),
        output_pool=nn.AdaptiveAvgPool3d(1) if output_with_global_average else None,
    )


class SequencePool(nn.Module):
    """Turns a sequence into one vector: its first entry, `cls`, or the average of all, `mean`."""

    @checked
    def __init__(self, mode: Literal["cls", "mean"]) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, entries, C) to (B, C)."""
        return x[:, 0] if self.mode == "cls" else x.mean(1)


class VisionTransformerBasicHead(nn.Module):
    """Classifies a sequence; None leaves pool, dropout or activation out."""

    def __init__(
        self,
        sequence_pool: nn.Module | None = None,
        dropout: nn.Module | None = None,
        proj: nn.Module | None = None,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if proj is None:
            raise ArgumentError("proj: is missing; give the linear layer that classifies")
        self.sequence_pool = sequence_pool
        self.dropout = dropout
        self.proj = proj
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Maps a sequence (B, entries, C) to logits (B, K), or to (B, entries, K) without a pool."""
        return apply(x, self.sequence_pool, self.dropout, self.proj, self.activation)


@checked
def create_vit_basic_head(
    *,
    in_features: PositiveInt,
    out_features: PositiveInt,
    seq_pool_type: Literal["cls", "mean", "none"] = "cls",
    dropout_rate: Probability = 0.5,
    activation: Build | None = None,
) -> VisionTransformerBasicHead:
    """Builds the head of a vision transformer: a sequence (B, entries, in_features) -> logits (B, out_features).

    seq_pool_type: see `SequencePool`; with `none` every entry is classified.
    """
    return VisionTransformerBasicHead(
        sequence_pool=None if seq_pool_type == "none" else SequencePool(seq_pool_type),
        dropout=nn.Dropout(dropout_rate) if dropout_rate > 0 else None,
        proj=nn.Linear(in_features, out_features),
        activation=make_head_activation(activation),
    )


create_res_roi_pooling_head = detector("create_res_roi_pooling_head", "create_res_basic_head")
