"""Reads the tokens of a whole clip by attention: the attentive pooler that V-JEPA 2 puts on its frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

HEAD_WIDTH = 64  # channels of an attention head where nobody says how many heads there are
MLP_RATIO = 4
STD = 0.02  # of the initial weights and of the query


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
        self.query = nn.Embedding(1, width)
        self.blocks = nn.ModuleList(_Block(width, _SelfAttention(width, num_heads)) for _ in range(depth - 1))
        self.cross_attention_block = _Block(width, _CrossAttention(width, num_heads))
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens (B, L, D) to (B, D)."""
        for block in self.blocks:
            tokens = block(tokens, tokens)
        query = self.query(tokens.new_zeros(tokens.shape[0], 1, dtype=torch.long))
        pooled: Tensor = self.cross_attention_block(query, tokens)
        return pooled[:, 0]

    @torch.no_grad()
    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.query.weight, std=STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=STD)
                nn.init.zeros_(layer.bias)
        for number, block in enumerate(self._in_order(), start=1):  # deeper blocks begin closer to the identity
            for layer in block.last_layers():
                layer.weight /= (2 * number) ** 0.5

    def _in_order(self) -> Iterator[Any]:
        return chain(self.blocks, [self.cross_attention_block])


class _Block(nn.Module):
    """Adds attention to its input, and then an MLP; names of parameters are those of the published files."""

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_name = "attn" if isinstance(attention, _SelfAttention) else "xattn"
        self.add_module(self.attention_name, attention)
        self.mlp = _MLP(width)

    def forward(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Maps rows (B, R, D), which look at tokens (B, L, D), to (B, R, D)."""
        rows = rows + self.get_submodule(self.attention_name)(rows, self.norm1(tokens))
        out: Tensor = rows + self.mlp(self.norm2(rows))
        return out

    def last_layers(self) -> list[nn.Linear]:
        """Returns the layers whose results are added to the block's input."""
        attention = self.get_submodule(self.attention_name)
        return [self.mlp.fc2, *([attention.proj] if isinstance(attention, _SelfAttention) else [])]


class _SelfAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, rows: Tensor, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        out: Tensor = self.proj(_attend(q, k, v, self.num_heads))
        return out


class _CrossAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)

    def forward(self, rows: Tensor, tokens: Tensor) -> Tensor:
        k, v = self.kv(tokens).chunk(2, dim=-1)
        return _attend(self.q(rows), k, v, self.num_heads)


class _MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, MLP_RATIO * width), nn.Linear(MLP_RATIO * width, width)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(rows)))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """Attends with several heads: q (B, R, D), k and v (B, L, D) -> (B, R, D)."""
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def places_in_time(num_frames: int, width: int, *, of: int, like: Tensor) -> Tensor:
    """Returns what tells the frames of a clip apart, (T, width): sines and cosines of their places in it.

    of: frames of a training clip; a clip of another number of frames covers the same places.
    """
    times = (torch.arange(num_frames, device=like.device, dtype=torch.float32) + 0.5) * of / num_frames - 0.5
    half = (width + 1) // 2
    speeds = 10_000.0 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angles = times[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width].to(like.dtype)
