"""Builds MViT, versions 1 and 2, of any published size from torchvision's class, with random weights.

Modules, keys and numbers are torchvision's. Its own builders have one clip size each; here the size is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor
from torchvision.models.video import MViT
from torchvision.models.video.mvit import MSBlockConfig

from utils.config.build import checked

PATCH = 4  # pixels along a side of a patch
TUBELET = 2  # frames of a patch
WIDER_AT = (1, 3, 14)  # of the networks with 16 blocks


class SizedMViT(MViT):
    """Classifies clips (B, 3, T, H, W) of the size that its position tables are for: logits (B, K)."""

    wanted: tuple[int, int, int]

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised clips to logits. Raises: ValueError for clips of another size."""
        if tuple(x.shape[2:]) != self.wanted:
            theirs, ours = (" x ".join(map(str, size)) for size in (x.shape[2:], self.wanted))
            raise ValueError(
                f"this MViT was built for clips of {ours} (frames x height x width), not {theirs}; set clip_len and "
                f"kwargs.spatial_size"
            )
        logits: Tensor = super().forward(x)
        return logits


def _blocks(
    depth: int,
    embed_dim: int,
    num_heads: int,
    wider_at: Sequence[int],
    *,
    second: bool,
    in_attention: bool,
    still: bool,
) -> list[MSBlockConfig]:
    """Lists the blocks. Before each of `wider_at`, or in it, the width doubles; the picture halves in it.

    second: version 2, which pools the queries of every block.
    still: the network sees single pictures, so no kernel spans frames.
    """
    pooling = [1, 3, 3] if still else [3, 3, 3]
    kv = 4 if still else 8  # step between the keys, in patches of the picture as it enters the first block
    blocks, width, heads = [], embed_dim, num_heads
    for index in range(depth):
        halves = index in wider_at
        if halves:
            heads, kv = heads * 2, max(kv // 2, 1)
        doubles = halves if in_attention else index + 1 in wider_at
        asked = [1, 2, 2] if halves else [1, 1, 1] if second else []
        blocks.append(
            MSBlockConfig(
                num_heads=heads,
                input_channels=width,
                output_channels=width * 2 if doubles else width,
                kernel_q=pooling if asked else [],
                kernel_kv=pooling,
                stride_q=asked,
                stride_kv=[1, kv, kv],
            )
        )
        width = blocks[-1].output_channels
    return blocks


def _build(
    blocks: list[MSBlockConfig], *, second: bool, in_attention: bool, size: int, frames: int, **options: Any
) -> SizedMViT:
    if size % PATCH:
        raise ValueError(f"spatial_size: {size} is not a multiple of {PATCH}, the side of a patch")
    still = frames == 1
    if frames % TUBELET and not still:
        raise ValueError(f"temporal_size: {frames} is odd; take an even number of frames, or 1 for single pictures")
    patches: dict[str, Any] = {
        "patch_embed_kernel": (1, 7, 7),
        "patch_embed_stride": (1, PATCH, PATCH),
        "patch_embed_padding": (0, 3, 3),
    }
    net = SizedMViT(
        spatial_size=(size, size),
        temporal_size=frames,
        block_setting=blocks,
        residual_pool=second,
        residual_with_cls_embed=False,
        rel_pos_embed=second,
        proj_after_attn=in_attention,
        **(patches if still else {}),
        **options,
    )
    net.wanted = (frames, size, size)
    return net


@checked
def mvit_v1_b(
    num_class: PositiveInt = 400,
    *,
    dropout: float = 0.5,
    spatial_size: PositiveInt = 224,
    temporal_size: PositiveInt = 16,
    drop_path: float = 0.2,
) -> SizedMViT:
    """Builds MViT-B (Fan et al. 2021, arXiv 2104.11227): clips (B, 3, T, H, W) -> logits (B, num_class).

    spatial_size: H and W, a multiple of 4.
    temporal_size: T, even; 1 makes PyTorchVideo's network over pictures, whose kernels span no frames.
    drop_path: probability of leaving out the last block in training; earlier blocks have less.
    """
    still = temporal_size == 1
    return _build(
        _blocks(16, 96, 1, WIDER_AT, second=False, in_attention=False, still=still),
        second=False,
        in_attention=False,
        size=spatial_size,
        frames=temporal_size,
        dropout=dropout,
        stochastic_depth_prob=drop_path,
        num_classes=num_class,
    )


@checked
def mvit_v2_s(
    num_class: PositiveInt = 400,
    *,
    dropout: float = 0.5,
    spatial_size: PositiveInt = 224,
    temporal_size: PositiveInt = 16,
    depth: PositiveInt = 16,
    embed_dim: PositiveInt = 96,
    num_heads: PositiveInt = 1,
    wider_at: Sequence[NonNegativeInt] = WIDER_AT,
    widen_in: Literal["attention", "mlp"] = "attention",
    drop_path: float = 0.2,
) -> SizedMViT:
    """Builds MViTv2 (Li et al. 2022, arXiv 2112.01526), by default S: clips (B, 3, T, H, W) -> logits (B, num_class).

    B has depth 24 and wider_at [2, 5, 21]; L has depth 48, embed_dim 144, num_heads 2 and wider_at [2, 8, 44].

    spatial_size, temporal_size, drop_path: see mvit_v1_b.
    depth: number of blocks.
    embed_dim, num_heads: width and heads of the first block.
    wider_at: blocks that halve height and width, and double width and heads.
    widen_in: what doubles the width: the attention of these blocks, or as in MaskFeat the MLP of those before them.
    """
    if embed_dim % num_heads:
        raise ValueError(f"num_heads: {num_heads} does not divide embed_dim {embed_dim}")
    if wider_at and max(wider_at) >= depth:
        raise ValueError(f"wider_at: block {max(wider_at)} is not one of the {depth} blocks, which count from 0")
    in_attention = widen_in == "attention"
    still = temporal_size == 1
    return _build(
        _blocks(depth, embed_dim, num_heads, wider_at, second=True, in_attention=in_attention, still=still),
        second=True,
        in_attention=in_attention,
        size=spatial_size,
        frames=temporal_size,
        dropout=dropout,
        stochastic_depth_prob=drop_path,
        num_classes=num_class,
    )


BUILDERS = {"mvit_v1_b": mvit_v1_b, "mvit_v2_s": mvit_v2_s}
