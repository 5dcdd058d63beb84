"""Offers PyTorchVideo's `create_multiscale_vision_transformers` with its arguments, keys and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import LISTS, Build, Pair, Probability, Triple
from networks.pytorchvideo.attention import MultiScaleBlock
from networks.pytorchvideo.head import create_vit_basic_head
from networks.pytorchvideo.layers import round_width
from networks.pytorchvideo.positions import SpatioTemporalClsPositionalEncoding
from networks.pytorchvideo.stem import create_conv_patch_embed
from utils.config.build import ArgumentError, checked

_Layer = Annotated[tuple[NonNegativeInt, PositiveInt, PositiveInt, PositiveInt], LISTS]
Layers = Sequence[_Layer] | None  # for some layers: its number, and a stride in t, h, w
Factors = Sequence[Annotated[tuple[NonNegativeInt, PositiveFloat], LISTS]] | None  # for some layers: number, factor


class MultiscaleVisionTransformers(nn.Module):
    """Applies a vision transformer whose blocks take the shape of the patches, and draws its weights when it is made.

    cls_positional_encoding: its method patch_embed_shape tells the shape in front of the first block.
    patch_embed, pos_drop, norm_embed, head: None leaves them out.
    """

    cls_positional_encoding: Any  # a module with a method of its own

    def __init__(
        self,
        *,
        patch_embed: nn.Module | None,
        cls_positional_encoding: nn.Module,
        pos_drop: nn.Module | None,
        blocks: nn.ModuleList,
        norm_embed: nn.Module | None,
        head: nn.Module | None,
    ) -> None:
        super().__init__()
        if not hasattr(cls_positional_encoding, "patch_embed_shape"):
            raise ArgumentError("cls_positional_encoding: has no method patch_embed_shape, which tells t, h and w")
        self.patch_embed = patch_embed or nn.Identity()
        self.cls_positional_encoding = cls_positional_encoding
        self.pos_drop = pos_drop or nn.Identity()
        self.blocks = blocks
        self.norm_embed = norm_embed or nn.Identity()
        self.head = head or nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, SpatioTemporalClsPositionalEncoding):
                for parameter in module.parameters():
                    nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W), or patches (B, patches, C) without patch_embed, to logits (B, K)."""
        x = self.pos_drop(self.cls_positional_encoding(self.patch_embed(x)))
        shape = self.cls_positional_encoding.patch_embed_shape()
        for block in self.blocks:
            x, shape = block(x, shape)
        x = self.head(self.norm_embed(x))
        return x


@checked
def create_multiscale_vision_transformers(
    *,
    spatial_size: PositiveInt | Pair,
    temporal_size: PositiveInt,
    cls_embed_on: bool = True,
    sep_pos_embed: bool = True,
    depth: PositiveInt = 16,
    norm: Literal["layernorm", "batchnorm"] = "layernorm",
    enable_patch_embed: bool = True,
    input_channels: PositiveInt = 3,
    patch_embed_dim: PositiveInt = 96,
    conv_patch_embed_kernel: Sequence[PositiveInt] = (3, 7, 7),
    conv_patch_embed_stride: Sequence[PositiveInt] = (2, 4, 4),
    conv_patch_embed_padding: Sequence[NonNegativeInt] = (1, 3, 3),
    enable_patch_embed_norm: Literal[False] = False,
    use_2d_patch: bool = False,
    num_heads: PositiveInt = 1,
    mlp_ratio: PositiveFloat = 4.0,
    qkv_bias: bool = True,
    dropout_rate_block: Probability = 0.0,
    droppath_rate_block: Probability = 0.0,
    pooling_mode: Literal["conv", "avg", "max"] = "conv",
    pool_first: bool = False,
    residual_pool: bool = False,
    depthwise_conv: bool = True,
    bias_on: bool = True,
    separate_qkv: bool = True,
    embed_dim_mul: Factors = None,
    atten_head_mul: Factors = None,
    dim_mul_in_att: bool = False,
    pool_q_stride_size: Layers = None,
    pool_kv_stride_size: Layers = None,
    pool_kv_stride_adaptive: Triple | None = None,
    pool_kvq_kernel: Triple | None = None,
    head: Build | None = create_vit_basic_head,
    head_dropout_rate: Probability = 0.5,
    head_activation: Build | None = None,
    head_num_classes: PositiveInt = 400,
    create_scriptable_model: Literal[False] = False,
    multiscale_vit_class: Build = MultiscaleVisionTransformers,
) -> nn.Module:
    """Builds MViT (Fan et al. 2021, arXiv 2104.11227): clips (B, input_channels, T, H, W) -> logits (B, K).

    PyTorchVideo does nothing with enable_patch_embed_norm, and TorchScript is deprecated: both must be left out.
    Arguments of the blocks: see `MultiScaleBlock` and `block_arguments`; those of the head: `create_vit_basic_head`.

    spatial_size, temporal_size: H and W, or their one size, and T. use_2d_patch: pictures (B, C, H, W), with T = 1.
    Raises: ArgumentError that names the argument.
    """
    given = dict(locals())
    if use_2d_patch and temporal_size != 1:
        raise ArgumentError(f"use_2d_patch: is for pictures, so temporal_size must be 1, not {temporal_size}")
    patch_embed, shape = _patches(given)
    normed = partial(nn.LayerNorm, eps=1e-6)
    layers = norm == "layernorm"
    norms = {"norm_layer": normed, "attn_norm_layer": normed} if layers else _BATCH_NORMS
    blocks = [MultiScaleBlock(**arguments, **norms) for arguments in block_arguments(given)]
    positions = SpatioTemporalClsPositionalEncoding(patch_embed_dim, shape, sep_pos_embed, cls_embed_on)
    pool = "cls" if cls_embed_on else "mean"
    return multiscale_vit_class(
        patch_embed=patch_embed,
        cls_positional_encoding=positions,
        pos_drop=nn.Dropout(dropout_rate_block) if dropout_rate_block > 0 else None,
        blocks=nn.ModuleList(blocks),
        norm_embed=normed(blocks[-1].dim_out) if layers else None,
        head=head and head(
            in_features=blocks[-1].dim_out, out_features=head_num_classes, seq_pool_type=pool,
            dropout_rate=head_dropout_rate, activation=head_activation,
        ),
    )  # fmt: skip


_BATCH_NORMS: dict[str, Any] = {"norm_layer": nn.BatchNorm1d, "attn_norm_layer": nn.BatchNorm3d}


def _patches(given: dict[str, Any]) -> tuple[nn.Module | None, tuple[int, int, int]]:
    """Builds what cuts patches, and returns it with the patches in time, height and width."""
    size = given["spatial_size"]
    height, width = size if isinstance(size, Sequence) else (size, size)
    shape = given["temporal_size"], height, width
    if not given["enable_patch_embed"]:
        return None, shape
    flat, stride = given["use_2d_patch"], tuple(given["conv_patch_embed_stride"])
    wanted = "a pair (h, w), because of use_2d_patch" if flat else "a triple (t, h, w)"
    for key in ("conv_patch_embed_kernel", "conv_patch_embed_stride", "conv_patch_embed_padding"):
        if len(given[key]) != (2 if flat else 3):
            raise ArgumentError(f"{key}: should be {wanted}, but is {tuple(given[key])}")
    patch_embed = create_conv_patch_embed(
        in_channels=given["input_channels"],
        out_channels=given["patch_embed_dim"],
        conv_kernel_size=given["conv_patch_embed_kernel"],
        conv_stride=stride,
        conv_padding=given["conv_patch_embed_padding"],
        conv=nn.Conv2d if flat else nn.Conv3d,
    )
    time, high, wide = (whole // step for whole, step in zip(shape, (1, *stride) if flat else stride, strict=True))
    if not time * high * wide:
        raise ArgumentError(f"conv_patch_embed_stride: {stride} is larger than the clips, {shape} in t, h and w")
    return patch_embed, (time, high, wide)


def block_arguments(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the arguments of each block, without its norms, from those of the network.

    embed_dim_mul, atten_head_mul: the block in front of layer i, or with dim_mul_in_att layer i itself, multiplies the
        channels by the factor; layer i multiplies the heads.
    pool_q_stride_size, pool_kv_stride_size: strides of layers, which are not pooled otherwise.
    pool_kv_stride_adaptive: stride of keys and values in the first layer; each stride of the queries divides it.
    pool_kvq_kernel: kernel of all pools; None is a stride and one.
    droppath_rate_block: of the last block; those in front of it have less.
    """
    depth, in_attention = given["depth"], given["dim_mul_in_att"]
    wider, more_heads = (_factors(key, given[key], depth) for key in ("embed_dim_mul", "atten_head_mul"))
    strides_q = _strides("pool_q_stride_size", given["pool_q_stride_size"], depth)
    adaptive = given["pool_kv_stride_adaptive"]
    if adaptive is not None and given["pool_kv_stride_size"] is not None:
        raise ArgumentError("pool_kv_stride_size: is not for a network with pool_kv_stride_adaptive; leave one out")
    strides_kv = _strides("pool_kv_stride_size", given["pool_kv_stride_size"], depth)
    if adaptive is not None:
        for index, stride_q in enumerate(strides_q):
            adaptive = [max(size // step, 1) for size, step in zip(adaptive, stride_q or (1, 1, 1), strict=True)]
            strides_kv[index] = adaptive
    drops = torch.linspace(0, given["droppath_rate_block"], depth, device="cpu").tolist()
    found, inputs, heads = [], given["patch_embed_dim"], given["num_heads"]
    for index in range(depth):
        heads = round_width(heads, more_heads[index], min_width=1, divisor=1)
        place = index if in_attention else index + 1
        outputs = round_width(inputs, wider[place], divisor=round_width(heads, more_heads[place]))
        arguments = {
            "dim": inputs, "dim_out": outputs, "num_heads": heads, "dropout_rate": given["dropout_rate_block"],
            "droppath_rate": drops[index], "pool_mode": given["pooling_mode"], "has_cls_embed": given["cls_embed_on"],
            "stride_q": strides_q[index], "kernel_q": _kernel(strides_q[index], given["pool_kvq_kernel"]),
            "stride_kv": strides_kv[index], "kernel_kv": _kernel(strides_kv[index], given["pool_kvq_kernel"]),
            **{key: given[key] for key in _OF_ALL},
        }  # fmt: skip
        found.append(arguments)
        inputs = outputs
    return found


_OF_ALL = (
    "mlp_ratio", "qkv_bias", "dim_mul_in_att", "pool_first", "residual_pool", "depthwise_conv", "bias_on",
    "separate_qkv",
)  # fmt: skip


def _factors(key: str, pairs: Any, depth: int) -> list[float]:
    """Returns the factor of each layer, and one behind the last. Raises: ArgumentError for a layer that is missing."""
    factors = [1.0] * (depth + 1)
    for index, factor in pairs or ():
        if index > depth:
            raise ArgumentError(f"{key}: layer {index} is not one of the {depth} layers, which count from 0")
        factors[index] = factor
    return factors


def _strides(key: str, layers: Any, depth: int) -> list[Sequence[int]]:
    """Returns the stride of each layer, () if it is not pooled. Raises: ArgumentError for a layer that is missing."""
    strides: list[Sequence[int]] = [()] * depth
    for index, *stride in layers or ():
        if index >= depth:
            raise ArgumentError(f"{key}: give the number of a layer, 0 to {depth - 1}, and its stride in t, h and w")
        strides[index] = stride
    return strides


def _kernel(stride: Sequence[int], kernel: Sequence[int] | None) -> Sequence[int]:
    """Returns the kernel of a pool; one without a stride is not there."""
    if not stride or kernel is not None:
        return kernel if stride and kernel is not None else ()
    return [size + 1 if size > 1 else size for size in stride]
