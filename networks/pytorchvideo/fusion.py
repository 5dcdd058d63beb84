"""Fuses the features of several streams, each (B, entries, C), into one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from utils.config.build import ArgumentError, checked


class ConcatFusion(nn.Module):
    """Joins the channels of all streams.

    feature_dims: channels of each stream. Attributes: output_dim, the channels of the fused tensor.
    """

    @checked
    def __init__(self, feature_dims: Sequence[PositiveInt]) -> None:
        super().__init__()
        self.output_dim = sum(feature_dims)

    def forward(self, input_list: Sequence[Tensor]) -> Tensor:
        """Maps streams (B, entries, C) to (B, entries, output_dim)."""
        return torch.cat([*input_list], -1)


class TemporalConcatFusion(nn.Module):
    """Puts the entries of all streams one behind the other, see `ConcatFusion`; they have the same channels."""

    @checked
    def __init__(self, feature_dims: Sequence[PositiveInt]) -> None:
        super().__init__()
        self.output_dim = _only(feature_dims)

    def forward(self, input_list: Sequence[Tensor]) -> Tensor:
        """Maps streams (B, entries, C) to (B, all entries, C)."""
        return torch.cat([*input_list], 1)


class ReduceFusion(nn.Module):
    """Reduces the streams to one of the same shape, see `ConcatFusion`; they have the same channels.

    reduce_fn: maps the stacked streams (streams, B, entries, C) to (B, entries, C).
    """

    @checked
    def __init__(self, feature_dims: Sequence[PositiveInt], reduce_fn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reduce_fn = reduce_fn
        self.output_dim = _only(feature_dims)

    def forward(self, input_list: Sequence[Tensor]) -> Tensor:
        """Maps streams (B, entries, C) to one of them."""
        return self.reduce_fn(torch.stack([*input_list]))


@checked
def make_fusion_layer(
    method: Literal["concat", "temporal_concat", "max", "sum", "prod"], feature_dims: Sequence[PositiveInt]
) -> nn.Module:
    """Builds the fusion of streams with these channels.

    method: `concat` joins channels, `temporal_concat` joins entries, the others reduce.
    Raises: ArgumentError that names the argument.
    """
    if method == "concat":
        return ConcatFusion(feature_dims)
    if method == "temporal_concat":
        return TemporalConcatFusion(feature_dims)
    reductions: dict[str, Callable[[Tensor], Tensor]] = {"max": _largest, "sum": _sum, "prod": _product}
    return ReduceFusion(feature_dims, reductions[method])


def _largest(streams: Tensor) -> Tensor:
    return streams.amax(0)


def _sum(streams: Tensor) -> Tensor:
    return streams.sum(0)


def _product(streams: Tensor) -> Tensor:
    return streams.prod(0)


def _only(dims: Sequence[int]) -> int:
    """Returns the channels that all streams have. Raises: ArgumentError for streams that differ."""
    if len({*dims}) != 1:
        raise ArgumentError(f"feature_dims: are {[*dims]}; only `concat` fuses streams of different channels")
    return dims[0]
