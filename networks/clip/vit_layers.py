"""Defines the layers that vision transformers share: attention, MLP, block, tables of learned vectors.

Names of parameters are timm's, which most projects took over: blocks.0.attn.qkv.weight, blocks.0.mlp.fc1.bias.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from torchvision.ops import StochasticDepth

Rotation = tuple[Tensor, Tensor]  # cosines and sines (L, channels of a head), by which positions turn queries and keys
GELU = Literal["none", "tanh"]  # exact, or approximated by tanh
STD = 0.02  # of initial weights and of learned vectors


class Table(nn.Embedding):
    """Holds learned vectors, (count, width), that are added or appended to tokens and do not decay with `no_wd`."""

    decays = False

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.trunc_normal_(self.weight, std=STD)


class Patches(nn.Conv3d):
    """Maps clips (B, C, T, H, W) to a map of tubelets, (B, D, T', H', W'): a convolution that steps by its kernel.

    It is computed as one product of matrices, so that the tokens lie in memory one behind the other, as all layers
    behind it want them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps clips, whose sizes are multiples of the kernel, to a map."""
        x = input
        for axis, size in zip((2, 4, 6), self.kernel_size, strict=True):
            x = x.unflatten(axis, (-1, size))
        rows = x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)  # B, T', H', W', all values of a tubelet
        return linear(rows, self.weight.flatten(1), self.bias).movedim(-1, 1)


class QKV(nn.Linear):
    """Makes queries, keys and values (..., 3 * width) of tokens (..., width).

    key_bias: False leaves the keys without a bias, as BEiT and VideoMAE do; without rotation it would change nothing.
    """

    def __init__(self, width: int, *, key_bias: bool = True) -> None:
        super().__init__(width, 3 * width, bias=key_bias)
        self.q_bias, self.v_bias = (None if key_bias else nn.Parameter(torch.zeros(width)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (..., width) to (..., 3 * width)."""
        bias: Tensor | None = self.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return linear(x, self.weight, bias)


class Attention(nn.Module):
    """Lets tokens (B, L, width) attend to each other; width is a multiple of num_heads."""

    def __init__(self, width: int, num_heads: int, *, key_bias: bool = True) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"num_heads: {num_heads} does not divide the {width} channels of a token")
        self.num_heads = num_heads
        self.qkv, self.proj = QKV(width, key_bias=key_bias), nn.Linear(width, width)

    def forward(self, x: Tensor, *rotation: Tensor) -> Tensor:
        """Maps tokens (B, L, width) to (B, L, width). rotation: nothing, or the two tensors of a `Rotation`."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out: Tensor = self.proj(attend(q, k, v, self.num_heads, *rotation))
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, *rotation: Tensor) -> Tensor:
    """Attends with several heads: q (B, R, D), k and v (B, L, D) -> (B, R, D)."""
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    if rotation:
        q, k = (_turned(part, *rotation) for part in (q, k))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _turned(rows: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turns each pair of neighbouring channels of rows (B, heads, L, d) by the angles of their position."""
    even, odd = rows.unflatten(-1, (-1, 2)).unbind(-1)
    across = torch.stack([-odd, even], dim=-1).flatten(-2)
    return (rows * cosines + across * sines).to(rows.dtype)


class MLP(nn.Module):
    """Runs each token (..., width) through a hidden layer. gelu: approximation of its activation."""

    def __init__(self, width: int, hidden: int, *, gelu: GELU = "none") -> None:
        super().__init__()
        self.gelu = gelu
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (..., width) to (..., width)."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x), approximate=self.gelu))
        return out


class Block(nn.Module):
    """Adds attention to tokens, and then an MLP, each behind a norm (Dosovitskiy et al. 2021, arXiv 2010.11929).

    drop_path: probability of leaving out what is added, drawn for each clip in training.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        eps: float = 1e-6,
        drop_path: float = 0.0,
        key_bias: bool = True,
        gelu: GELU = "none",
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, num_heads, key_bias=key_bias)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, round(width * mlp_ratio), gelu=gelu)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, *rotation: Tensor) -> Tensor:
        """Maps tokens (B, L, width) to (B, L, width). rotation: nothing, or the two tensors of a `Rotation`."""
        x = x + self.drop_path(self.attn(self.norm1(x), *rotation))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Returns the drop path of each block: 0 for the first, growing evenly to `last`."""
    return [last * block / max(depth - 1, 1) for block in range(depth)]


def initialise(network: nn.Module) -> None:
    """Draws the weights of all linear layers from a normal distribution cut off at +-2, and sets their biases to 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
