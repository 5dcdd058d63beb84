"""Holds the blocks of PyTorchVideo's MViT (Fan et al. 2021, arXiv 2104.11227): attention between pooled patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import LISTS, ONE, Build, Probability, Triple, halves
from networks.pytorchvideo.layers import DropPath, Mlp
from utils.config.build import ArgumentError, checked

Size = Triple | Annotated[tuple[()], LISTS]  # an empty one pools nothing
Pooled = tuple[Tensor, Sequence[int]]
PROJECTIONS = ("q", "k", "v")


def pool_patches(
    x: Tensor, shape: Sequence[int], pool: nn.Module | None, norm: nn.Module | None, *, has_cls: bool
) -> Pooled:
    """Pools patches (B, heads, entries, C), or (B, entries, C), whose first entry stays if `has_cls`.

    shape: patches in time, height and width. pool: None returns x and shape as they are.
    norm: behind the pool; a batch norm is in front of it, with a GELU between them.
    Returns: the pooled patches, and how many there are in time, height and width.
    """
    if pool is None:
        return x, shape
    heads = x if x.ndim == 4 else x[:, None]
    first, patches = heads[:, :, :1], heads[:, :, 1:] if has_cls else heads
    grid = patches.flatten(0, 1).unflatten(1, [*shape]).permute(0, 4, 1, 2, 3)
    early = isinstance(norm, nn.BatchNorm3d | nn.Identity)
    if norm is not None and early:
        grid = F.gelu(norm(grid))
    grid = pool(grid)
    patches = grid.flatten(2).transpose(1, 2).unflatten(0, heads.shape[:2])
    patches = torch.cat([first, patches], 2) if has_cls else patches
    if norm is not None and not early:
        patches = norm(patches)
    return patches if x.ndim == 4 else patches[:, 0], [*grid.shape[2:]]


class MultiScaleAttention(nn.Module):
    """Computes the attention of several heads between patches that are pooled first.

    dim, dim_out: channels of the patches before and behind; None or 0 keeps them.
    kernel_q, stride_q, kernel_kv, stride_kv: of the pools of queries, and of keys and values. Kernels and strides of 1,
        or an empty kernel, pool nothing.
    norm_layer: called with the channels of a head, behind each convolution.
    has_cls_embed: the first entry is that of the class, which is never pooled.
    pool_mode: `conv`, `avg` or `max`. depthwise_conv: convolve each channel alone.
    pool_first: pool in front of the projections, not behind them.
    residual_pool: add the pooled queries to what attention gives.
    qkv_bias, bias_on: of the projections in front, and of the one behind. separate_qkv: three projections in front,
        whose state dict has other keys than that of a single one.
    Raises: ArgumentError for heads that do not divide the channels.
    """

    @checked
    def __init__(
        self,
        dim: PositiveInt,
        dim_out: int | None = None,
        num_heads: PositiveInt = 8,
        qkv_bias: bool = False,
        dropout_rate: Probability = 0.0,
        kernel_q: Size = ONE,
        kernel_kv: Size = ONE,
        stride_q: Size = ONE,
        stride_kv: Size = ONE,
        norm_layer: Build = nn.LayerNorm,
        has_cls_embed: bool = True,
        pool_mode: Literal["conv", "avg", "max"] = "conv",
        pool_first: bool = False,
        residual_pool: bool = True,
        depthwise_conv: bool = True,
        bias_on: bool = True,
        separate_qkv: bool = True,
    ) -> None:
        super().__init__()
        self.dim_out = dim_out or dim
        self.num_heads = num_heads
        self.has_cls_embed = has_cls_embed
        self.pool_first = pool_first
        self.residual_pool = residual_pool
        inner = dim if pool_first else self.dim_out
        for channels in (inner, self.dim_out):
            if channels % num_heads:
                raise ArgumentError(f"num_heads: {num_heads} does not divide the {channels} channels")
        self.separate_qkv = separate_qkv or pool_first
        if self.separate_qkv:
            for name in PROJECTIONS:
                self.add_module(name, nn.Linear(dim, self.dim_out, bias=qkv_bias))
        else:
            self.qkv = nn.Linear(dim, 3 * self.dim_out, bias=qkv_bias)
        self.proj = nn.Linear(self.dim_out, self.dim_out, bias=bias_on)
        self.proj_drop = nn.Dropout(dropout_rate) if dropout_rate > 0 else nn.Identity()
        for name in PROJECTIONS:
            kernel, stride = (kernel_q, stride_q) if name == "q" else (kernel_kv, stride_kv)
            width = inner // num_heads
            pool = _pool(pool_mode, width, kernel, stride, groups=width if depthwise_conv else 1)
            self.register_module(f"pool_{name}", pool)
            normed = pool is not None and pool_mode == "conv"
            self.register_module(f"norm_{name}", norm_layer(width) if normed else None)

    def forward(self, x: Tensor, thw_shape: Sequence[int]) -> Pooled:
        """Maps patches (B, entries, dim) to (B, pooled entries, dim_out).

        thw_shape: patches in time, height and width.
        Returns: the patches, and how many there are in time, height and width.
        """
        if self.pool_first:
            given = self._heads(x)
            pooled = {name: self._pooled(name, given, thw_shape) for name in PROJECTIONS}
            found = {
                name: self._heads(getattr(self, name)(patches.transpose(1, 2).flatten(2)))
                for name, (patches, _) in pooled.items()
            }
        else:
            if self.separate_qkv:
                projected = [getattr(self, name)(x) for name in PROJECTIONS]
            else:
                projected = [*self.qkv(x).chunk(3, -1)]
            pooled = {
                name: self._pooled(name, self._heads(part), thw_shape)
                for name, part in zip(PROJECTIONS, projected, strict=True)
            }
            found = {name: patches for name, (patches, _) in pooled.items()}
        attended = F.scaled_dot_product_attention(found["q"], found["k"], found["v"])
        if self.residual_pool:
            attended = attended + found["q"]
        x = self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2)))
        return x, pooled["q"][1]

    def _heads(self, x: Tensor) -> Tensor:
        """Maps (B, entries, C) to (B, heads, entries, C / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _pooled(self, name: str, x: Tensor, shape: Sequence[int]) -> Pooled:
        pool, norm = getattr(self, f"pool_{name}"), getattr(self, f"norm_{name}")
        return pool_patches(x, shape, pool, norm, has_cls=self.has_cls_embed)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Loads a state dict; those of PyTorchVideo have pools and norms a second time, under a private name."""
        again = f"{prefix}_attention_pool_"
        mine = {key: value for key, value in state_dict.items() if not key.startswith(again)}
        super()._load_from_state_dict(mine, prefix, *args)


class MultiScaleBlock(nn.Module):
    """Applies multi-scale attention and a perceptron, each with a norm in front and a shortcut.

    dim, dim_out: channels before and behind. dim_mul_in_att: attention changes them, otherwise the perceptron does.
    mlp_ratio: channels inside of the perceptron, by those in front of it. act_layer: its activation.
    droppath_rate: probability of leaving out a branch in training.
    norm_layer: called with the channels. attn_norm_layer, and the other arguments: see `MultiScaleAttention`.
    """

    @checked
    def __init__(
        self,
        dim: PositiveInt,
        dim_out: PositiveInt,
        num_heads: PositiveInt,
        mlp_ratio: PositiveFloat = 4.0,
        qkv_bias: bool = False,
        dropout_rate: Probability = 0.0,
        droppath_rate: Probability = 0.0,
        act_layer: Build = nn.GELU,
        norm_layer: Build = nn.LayerNorm,
        attn_norm_layer: Build = nn.LayerNorm,
        dim_mul_in_att: bool = False,
        kernel_q: Size = ONE,
        kernel_kv: Size = ONE,
        stride_q: Size = ONE,
        stride_kv: Size = ONE,
        pool_mode: Literal["conv", "avg", "max"] = "conv",
        has_cls_embed: bool = True,
        pool_first: bool = False,
        residual_pool: bool = False,
        depthwise_conv: bool = True,
        bias_on: bool = True,
        separate_qkv: bool = True,
    ) -> None:
        super().__init__()
        attended = dim_out if dim_mul_in_att else dim
        self.dim = dim
        self.dim_out = dim_out
        self.dim_mul_in_att = dim_mul_in_att
        self.has_cls_embed = has_cls_embed
        self.norm1 = norm_layer(dim)
        self.attn = MultiScaleAttention(
            dim, attended, num_heads, qkv_bias, dropout_rate, kernel_q, kernel_kv, stride_q, stride_kv,
            norm_layer=attn_norm_layer, has_cls_embed=has_cls_embed, pool_mode=pool_mode, pool_first=pool_first,
            residual_pool=residual_pool, depthwise_conv=depthwise_conv, bias_on=bias_on, separate_qkv=separate_qkv,
        )  # fmt: skip
        self.drop_path = DropPath(droppath_rate) if droppath_rate > 0 else nn.Identity()
        self.norm2 = norm_layer(attended)
        self.mlp = Mlp(attended, int(attended * mlp_ratio), dim_out, act_layer, dropout_rate, bias_on)
        self.proj = nn.Linear(dim, dim_out, bias=bias_on) if dim != dim_out else nn.Identity()
        wide = [size + 1 if size > 1 else size for size in stride_q]
        self.pool_skip = _pool("max", 1, wide, stride_q) if math.prod(stride_q) > 1 else None

    def forward(self, x: Tensor, thw_shape: Sequence[int]) -> Pooled:
        """Maps patches (B, entries, dim) to (B, pooled entries, dim_out), see `MultiScaleAttention`."""
        widens = self.dim != self.dim_out
        normed = _normed(self.norm1, x)
        attended, shape = self.attn(normed, thw_shape)
        if widens and self.dim_mul_in_att:
            x = self.proj(normed)
        x, _ = pool_patches(x, thw_shape, self.pool_skip, None, has_cls=self.has_cls_embed)
        x = x + self.drop_path(attended)
        normed = _normed(self.norm2, x)
        if widens and not self.dim_mul_in_att:
            x = self.proj(normed)
        return x + self.drop_path(self.mlp(normed)), shape


def _pool(mode: str, channels: int, kernel: Sequence[int], stride: Sequence[int], groups: int = 1) -> nn.Module | None:
    """Makes a pool of patches; one that does nothing is None."""
    if not kernel or (math.prod(kernel) == 1 and math.prod(stride) == 1):
        return None
    sizes: dict[str, Any] = {"kernel_size": tuple(kernel), "stride": tuple(stride), "padding": halves(kernel)}
    if mode == "conv":
        return nn.Conv3d(channels, channels, groups=groups, bias=False, **sizes)
    return nn.MaxPool3d(**sizes) if mode == "max" else nn.AvgPool3d(**sizes)


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Applies a norm to patches (B, entries, C); a batch norm wants the channels in front."""
    found: Tensor = norm(x.transpose(1, 2)).transpose(1, 2) if isinstance(norm, nn.BatchNorm1d) else norm(x)
    return found
