"""Reads the tokens of a whole clip by attention: the attentive pooler that V-JEPA 2 puts on its frozen encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from networks.clip.vit_layers import MLP, Block, Table, attend, initialise

HEAD_WIDTH = 64  # channels of an attention head where nobody says how many heads there are
MLP_RATIO = 4.0
EPS = 1e-5  # of all norms


class AttentivePooler(nn.Module):
    """Turns tokens (B, L, D) into one vector per clip, (B, D) (Assran et al. 2025, arXiv 2506.09985).

    Blocks of self-attention run over the tokens; in the last block a learned query attends to them, without a
    projection behind it. The pooler knows no places: whoever calls it adds them to the tokens.

    width: D. depth: number of blocks, the last one included.
    num_heads: attention heads, a divisor of D; None: as many as make heads of about 64 channels.
    """

    def __init__(self, width: int, *, depth: int = 4, num_heads: int | None = None) -> None:
        super().__init__()
        if num_heads is None:
            num_heads = next(count for count in range(max(1, width // HEAD_WIDTH), 0, -1) if width % count == 0)
        if width % num_heads:
            raise ValueError(f"num_heads: {num_heads} does not divide the {width} channels of the tokens")
        self.num_heads = num_heads
        self.query = Table(1, width)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio=MLP_RATIO, eps=EPS) for _ in range(depth - 1))
        self.cross_attention_block = _CrossBlock(width, num_heads)
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (B, L, D) to (B, D)."""
        for block in self.blocks:
            tokens = block(tokens)
        query = self.query(tokens.new_zeros(tokens.shape[0], 1, dtype=torch.long))
        pooled: Tensor = self.cross_attention_block(query, tokens)
        return pooled[:, 0]

    @torch.no_grad()
    def _initialise(self) -> None:
        initialise(self)
        blocks: list[Any] = [*self.blocks, self.cross_attention_block]
        for number, block in enumerate(blocks, start=1):  # deeper blocks begin closer to the identity
            for layer in (block.mlp.fc2, *([block.attn.proj] if isinstance(block, Block) else [])):
                layer.weight /= (2 * number) ** 0.5


class _CrossBlock(nn.Module):
    """Adds to a query what it finds in tokens, and then an MLP; names are those of the published files."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=EPS) for _ in range(2))
        self.xattn = _CrossAttention(width, num_heads)
        self.mlp = MLP(width, round(MLP_RATIO * width))

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Maps a query (B, 1, D) and the tokens (B, L, D) to (B, 1, D)."""
        query = query + self.xattn(query, self.norm1(tokens))
        out: Tensor = query + self.mlp(self.norm2(query))
        return out


class _CrossAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)

    def forward(self, rows: Tensor, tokens: Tensor) -> Tensor:
        k, v = self.kv(tokens).chunk(2, dim=-1)
        return attend(self.q(rows), k, v, self.num_heads)


def places_in_time(num_frames: int, width: int, *, of: int, like: Tensor) -> Tensor:
    """Returns what tells the frames of a clip apart, (T, width): sines and cosines of their places in it.

    of: frames of a training clip; a clip of another number of frames covers the same places.
    """
    times = (torch.arange(num_frames, device=like.device, dtype=torch.float32) + 0.5) * of / num_frames - 0.5
    half = (width + 1) // 2
    speeds = 10_000.0 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angles = times[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width].to(like.dtype)
