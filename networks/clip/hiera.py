"""Builds Hiera, a transformer whose tokens are pooled three times, of any published size, with random weights.

Modules and keys are those of its authors' code, but for the tables of places (Ryali et al. 2023, arXiv 2306.00989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torchvision.ops import StochasticDepth

from networks.clip.fit_tables import Places
from networks.clip.vit_layers import MLP, Table, drop_path_rates, initialise
from utils.config.build import checked

STRIDE = (2, 4, 4)  # frames, height and width of a patch's step
POOLS = 3  # times that height and width of the map of tokens halve
UNIT = 2**POOLS  # tokens along a side of the units within which the first two stages attend
SIDE = STRIDE[1] * UNIT  # of such a unit, in pixels
LOCAL = 2  # stages that attend within units
GROUP = 4  # tokens that one pool makes one of
EPS = 1e-6
HEAD_SCALE = 0.001  # of the classifier's initial weights
# width, heads of the first stage and blocks of each stage (table 1 of the paper)
SIZES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "hiera_tiny": (96, 1, (1, 2, 7, 2)),
    "hiera_small": (96, 1, (1, 2, 11, 2)),
    "hiera_base": (96, 1, (2, 3, 16, 3)),
    "hiera_base_plus": (112, 2, (2, 3, 16, 3)),
    "hiera_large": (144, 2, (2, 6, 36, 4)),
    "hiera_huge": (256, 4, (2, 6, 36, 4)),
}


def pooled(tokens: Tensor) -> Tensor:
    """Takes the largest of each group of tokens: (B, U, L, ...) -> (B, U, L / 4, ...)."""
    return tokens.unflatten(2, (GROUP, -1)).amax(2)


class Attention(nn.Module):
    """Lets the tokens of a unit attend to each other, or all tokens of a clip.

    width: channels that it gets. out: channels that it gives. pool: whether there are four times fewer queries.
    local: whether tokens see only those of their unit.
    """

    def __init__(self, width: int, out: int, num_heads: int, *, pool: bool, local: bool) -> None:
        super().__init__()
        self.num_heads, self.pool, self.local = num_heads, pool, local
        self.qkv, self.proj = nn.Linear(width, 3 * out), nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, U, L, width) to (B, U, L or L / 4, out)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(3)  # B, U, L, heads, channels of a head
        if self.pool:
            q = pooled(q)
        units = q.shape[:3]
        merged = (0, 1) if self.local else (1, 2)
        q, k, v = (part.flatten(*merged).transpose(1, 2) for part in (q, k, v))
        found = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(found.reshape(*units, -1))
        return out


class Block(nn.Module):
    """Adds attention and then an MLP to its tokens; the first block of a stage widens and pools them."""

    def __init__(self, width: int, out: int, num_heads: int, *, local: bool, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(out, eps=EPS)
        self.attn = Attention(width, out, num_heads, pool=width != out, local=local)
        self.mlp = MLP(out, 4 * out)
        self.proj = nn.Linear(width, out) if width != out else None
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, U, L, width) to (B, U, L, width), or (B, U, L / 4, out)."""
        normed = self.norm1(x)
        if self.proj is not None:
            x = pooled(self.proj(normed))
        x = x + self.drop_path(self.attn(normed))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Patches(nn.Module):
    """Turns clips into tokens of overlapping patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, (3, 7, 7), stride=STRIDE, padding=(1, 3, 3))

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, 3, T, H, W) to (B, T / 2, H / 4, W / 4, width)."""
        out: Tensor = self.proj(clips).movedim(1, -1)
        return out


class Head(nn.Module):
    """Classifies what is left of a clip."""

    def __init__(self, width: int, num_class: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width, num_class)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, width) to logits (B, num_class)."""
        out: Tensor = self.projection(self.dropout(x))
        return out


class Hiera(nn.Module):
    """Classifies clips (B, 3, T, H, W) of the size that its position tables are for: logits (B, K).

    Tokens are ordered by units of 8 x 8 of one frame, and inside of a unit so that each pool takes the largest of four
    that follow each other at equal distances: all pools and windows are views.
    """

    def __init__(
        self,
        num_class: int,
        *,
        width: int,
        num_heads: int,
        depths: Sequence[int],
        clip: tuple[int, int, int],
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        frames, height, columns = clip
        if frames % STRIDE[0]:
            raise ValueError(f"temporal_size: {frames} is odd; a token covers {STRIDE[0]} frames")
        if height % SIDE or columns % SIDE:
            raise ValueError(f"spatial_size: {height} is not a multiple of {SIDE}, the side of a unit of tokens")
        self.wanted, self.num_heads = clip, num_heads
        self.patch_embed = Patches(width)
        tokens = height // STRIDE[1] * (columns // STRIDE[2])
        self.pos_embed_spatial = Table(tokens, width)
        self.pos_embed_temporal = Table(frames // STRIDE[0], width)
        rates = drop_path_rates(drop_path, sum(depths))
        blocks: list[Block] = []
        for stage, depth in enumerate(depths):
            out, heads = width * 2**stage, num_heads * 2**stage
            for index in range(depth):
                first = index == 0 and stage > 0
                local = stage - first < LOCAL  # the first block of a stage attends as the stage before it
                inner = out // 2 if first else out
                blocks.append(Block(inner, out, heads, local=local, drop_path=rates[len(blocks)]))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(out, eps=EPS)
        self.head = Head(out, num_class, dropout)
        initialise(self)
        with torch.no_grad():
            self.head.projection.weight *= HEAD_SCALE

    def forward(self, clips: Tensor) -> Tensor:
        """Maps normalised clips to logits. Raises: ValueError for clips of another size."""
        logits: Tensor = self.head(self.norm(self.tokens(clips).mean((1, 2))))
        return logits

    def unseen(self) -> dict[str, int]:
        """Returns what decides its scores, and does not show in names and shapes of its weights."""
        return {"num_heads": self.num_heads}

    def tables(self) -> dict[str, Places]:
        """Returns its learned tables."""
        frames, height, columns = (size // step for size, step in zip(self.wanted, STRIDE, strict=True))
        return {"pos_embed_spatial": Places((1, height, columns)), "pos_embed_temporal": Places((frames, 1, 1))}

    def tokens(self, clips: Tensor) -> Tensor:
        """Maps clips to the tokens behind the last block, (B, T / 2, H / 32 * W / 32, channels)."""
        if tuple(clips.shape[2:]) != self.wanted:
            theirs, ours = (" x ".join(map(str, size)) for size in (clips.shape[2:], self.wanted))
            raise ValueError(
                f"this Hiera was built for clips of {ours} (frames x height x width), not {theirs}; set clip_len and "
                f"kwargs.spatial_size"
            )
        x = self.patch_embed(clips)
        places = self.pos_embed_spatial.weight.unflatten(0, x.shape[2:4])
        moments = x.shape[1]
        x = in_units(x + places + self.pos_embed_temporal.weight[:, None, None])
        for block in self.blocks:
            x = block(x)
        return x.flatten(1, 2).unflatten(1, (moments, -1))


def in_units(x: Tensor) -> Tensor:
    """Orders a map of tokens (B, T, H, W, C) by units: (B, T * H / 8 * W / 8, 64, C)."""
    parts = (-1, *[2] * POOLS)
    x = x.unflatten(3, parts).unflatten(2, parts)  # B, T, rows of units, 3 halves, columns of units, 3 halves, C
    first, second = 2, 3 + POOLS  # the axes of units
    halves = [axis for step in range(POOLS, 0, -1) for axis in (first + step, second + step)]  # neighbours in front
    return x.permute(0, 1, first, second, *halves, x.dim() - 1).flatten(4, -2).flatten(1, 3)


def _builder(name: str) -> Callable[..., Hiera]:
    @checked
    def build(
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        spatial_size: PositiveInt = 224,
        temporal_size: PositiveInt = 16,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        depths: Sequence[PositiveInt] | None = None,
        embed_dim: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
    ) -> Hiera:
        usual = SIZES[name]
        width, heads = embed_dim or usual[0], num_heads or usual[1]
        if width % heads:
            raise ValueError(f"num_heads: {heads} does not divide embed_dim {width}")
        if depths is not None and len(depths) != POOLS + 1:
            raise ValueError(f"depths: give the blocks of {POOLS + 1} stages, not of {len(depths)}")
        return Hiera(
            num_class,
            width=width,
            num_heads=heads,
            depths=depths or usual[2],
            clip=(temporal_size, spatial_size, spatial_size),
            dropout=dropout,
            drop_path=drop_path,
        )

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""Builds {name} (Ryali et al. 2023, arXiv 2306.00989): clips (B, 3, T, H, W) -> logits (B, K).

    spatial_size: H and W, a multiple of 32.
    temporal_size: T, even.
    drop_path: probability of leaving out the last block in training; earlier blocks have less.
    depths: blocks of each of the four stages, by default those of the paper.
    embed_dim, num_heads: width and heads of the first stage, by default those of the paper.
    """
    return build


BUILDERS = {name: _builder(name) for name in SIZES}
