"""Defines the vision transformer over clips that VideoMAE, V-JEPA 2, TimeSformer and ViViT share, as data.

A clip is cut into tubelets, a few frames of a patch each, and every tubelet becomes a token. The families differ in how
tokens know their places, in who attends to whom, and in what the classifier sees. video_vit_published.py has the sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from networks.clip import fit_tables
from networks.clip.attentive_pooler import AttentivePooler
from networks.clip.vit_layers import GELU, Attention, Block, Patches, Rotation, Table, drop_path_rates, initialise

Places = Literal["sines", "rotary", "rotary_stretched", "table", "frame_table"]
Pool = Literal["mean", "class", "attentive"]
BASE = 10_000.0  # of sines and rotations
SQUARE = 16  # tokens along a side of the pictures over which stretched rotations are the plain ones


@dataclass(frozen=True)
class ViTShape:
    """Describes a vision transformer over clips.

    width, depth, num_heads, mlp_ratio: of its blocks.
    tubelet: frames and pixels along a side of the part of a clip that becomes a token.
    clip: (T, H, W) of the clips that its tables are for; other places follow the clip that comes.
    places: how tokens know where they are. sines: fixed sines and cosines of the running number of the token.
        rotary: queries and keys are turned by time, row and column; rotary_stretched: the same, with rows and columns
        stretched over SQUARE tokens. table: a learned vector for each place in the clip. frame_table: one for each
        place in a frame, and one for each frame.
    divided: each block attends over time first, and then over each frame (Bertasius et al. 2021, arXiv 2102.05095).
    class_token: whether a learned token stands in front of the others.
    pool: what the classifier sees: the mean over the tokens, the class token, or an attentive pooler's vector.
    pool_heads: attention heads of the pooler. pool_depth: its blocks.
    segments: windows that a clip consists of; the blocks see each alone, and the classifier the tokens of all.
    reads: blocks whose tokens the classifier sees, each behind a norm; () for the last block alone.
    own_norms: whether each of these blocks has a norm of its own, as in V-JEPA 2.1, instead of the last one's.
    norm_after_pool: whether a norm follows the mean, instead of one of all tokens before it.
    key_bias: whether the keys have a bias. gelu: approximation of the MLP's activation. eps: of all norms.
    """

    width: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    tubelet: tuple[int, int] = (2, 16)
    clip: tuple[int, int, int] = (16, 224, 224)
    places: Places = "sines"
    divided: bool = False
    class_token: bool = False
    pool: Pool = "mean"
    pool_heads: int | None = None
    pool_depth: int = 4
    segments: int = 1
    reads: tuple[int, ...] = ()
    own_norms: bool = False
    norm_after_pool: bool = False
    key_bias: bool = True
    gelu: GELU = "none"
    eps: float = 1e-6

    def grid(self, clip: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the tokens of a clip (T, H, W) along each axis. Raises: ValueError if they do not fill it."""
        frames, side = self.tubelet
        if clip[0] % (frames * self.segments) or not clip[0]:
            of_each = f" in each of {self.segments} windows" if self.segments > 1 else ""
            unit = frames * self.segments
            raise ValueError(f"{clip[0]} frames are no multiple of {unit}, the frames of a token{of_each}")
        for pixels in clip[1:]:
            if pixels % side or not pixels:
                raise ValueError(f"{pixels} pixels are no multiple of {side}, the side of a token's patch")
        return clip[0] // frames, clip[1] // side, clip[2] // side


class VideoViT(nn.Module):
    """Classifies clips (B, 3, T, H, W): logits (B, num_class).

    drop_path: probability of leaving out the last block in training; earlier blocks have less.
    head_init_scale: factor of the classifier's initial weights.
    """

    sines: Tensor

    def __init__(
        self,
        shape: ViTShape,
        *,
        num_class: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        head_init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if shape.reads and (sorted({*shape.reads}) != [*shape.reads] or shape.reads[-1] != shape.depth - 1):
            last = shape.depth - 1
            raise ValueError(
                f"read_blocks: {[*shape.reads]} should be growing numbers that end with the last block, {last}"
            )
        self.shape = shape
        frames, side = shape.tubelet
        width, grid = shape.width, shape.grid(shape.clip)
        kernel = (frames, side, side)
        self.patch_embed = nn.ModuleDict({"proj": Patches(3, width, kernel, stride=kernel)})
        self.cls_token = Table(1, width) if shape.class_token else None
        learned = {"table": math.prod(grid), "frame_table": math.prod(grid[1:])}.get(shape.places, 0)
        self.pos_embed = Table(int(shape.class_token) + learned, width) if learned else None
        self.time_embed = Table(grid[0], width) if shape.places == "frame_table" else None
        if shape.places == "sines":
            self.register_buffer("sines", sines(math.prod(grid), width), persistent=False)
        self.blocks = nn.ModuleList(
            (DividedBlock if shape.divided else Block)(
                width,
                shape.num_heads,
                mlp_ratio=shape.mlp_ratio,
                eps=shape.eps,
                drop_path=rate,
                key_bias=shape.key_bias,
                gelu=shape.gelu,
            )
            for rate in drop_path_rates(drop_path, shape.depth)
        )
        norm = nn.LayerNorm(width, eps=shape.eps)
        self.norm = nn.Identity() if shape.norm_after_pool else norm
        earlier = shape.reads[:-1] if shape.own_norms else ()
        self.norms = nn.ModuleDict({str(number): nn.LayerNorm(width, eps=shape.eps) for number in earlier})
        self.fc_norm = norm if shape.norm_after_pool else nn.Identity()
        initialise(self)
        self.pooler = None
        if shape.pool == "attentive":
            self.pooler = AttentivePooler(width, depth=shape.pool_depth, num_heads=shape.pool_heads)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_class)
        self._initialise(head_init_scale)

    @torch.no_grad()
    def _initialise(self, head_init_scale: float) -> None:
        initialise(self.head)
        self.head.weight *= head_init_scale
        for block in list(self.blocks)[1:]:  # only the first one looks over time at the beginning
            if isinstance(block, DividedBlock):
                nn.init.zeros_(block.temporal_fc.weight)

    def forward(self, clips: Tensor) -> Tensor:
        """Maps normalised clips to logits. Raises: ValueError for clips of a size that it does not take."""
        tokens = self.all_tokens(clips)
        if self.pooler is not None:
            seen = self.pooler(tokens)
        else:
            seen = tokens[:, 0] if self.shape.pool == "class" else tokens.mean(1)
        logits: Tensor = self.head(self.dropout(self.fc_norm(seen)))
        return logits

    def forward_features(self, clips: Tensor) -> Tensor:
        """Maps clips to tokens (B, T', L, D): L places in the picture at each of T' moments.

        Where several blocks are read, the places of each follow those of the one before it.
        """
        tokens = self.all_tokens(clips)[:, int(self.shape.class_token) :]
        moments, levels = clips.shape[2] // self.shape.tubelet[0], len(self.shape.reads) or 1
        parts = tokens.unflatten(1, (self.shape.segments, levels, moments // self.shape.segments, -1))
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def all_tokens(self, clips: Tensor) -> Tensor:
        """Maps clips to all tokens behind the last block and its norm, (B, T' * L, D), one more with a class token.

        Those of each window follow those of the window before it, and so, inside of a window, those of each block that
        is read.
        """
        grid = self._grid_of(clips)
        if (segments := self.shape.segments) > 1:
            clips, grid = (
                clips.unflatten(2, (segments, -1)).transpose(1, 2).flatten(0, 1),
                (grid[0] // segments, *grid[1:]),
            )
        x = self.patch_embed["proj"](clips).flatten(2).transpose(1, 2)
        places: tuple[Tensor, ...] = ()
        match self.shape.places:
            case "sines":
                known = len(self.sines) == x.shape[1]
                x = x + (self.sines if known else sines(x.shape[1], x.shape[2], like=x)).to(x.dtype)
            case "rotary" | "rotary_stretched" as kind:
                channels = self.shape.width // self.shape.num_heads
                places = rotation(grid, channels, like=x, stretched=kind == "rotary_stretched")
            case _:
                x = self._with_tables(x, grid)
        seen = []
        for number, block in enumerate(self.blocks):
            x = block(x, grid[0]) if self.shape.divided else block(x, *places)
            if number in self.shape.reads:
                own = self.shape.own_norms and number < self.shape.depth - 1
                seen.append(self.norms[str(number)](x) if own else self.norm(x))
        tokens: Tensor = torch.cat(seen, 1) if seen else self.norm(x)
        return tokens.unflatten(0, (-1, segments)).flatten(1, 2) if segments > 1 else tokens

    def unseen(self) -> dict[str, Any]:
        """Returns what decides its scores, and does not show in names and shapes of its weights."""
        found: dict[str, Any] = {"num_heads": self.shape.num_heads, "places": self.shape.places}
        return found if self.pooler is None else found | {"pool_heads": self.pooler.num_heads}

    def tables(self) -> dict[str, fit_tables.Places]:
        """Returns its learned tables: TimeSformer's are resized to their nearest entries, as its authors do it."""
        grid, first = self.shape.grid(self.shape.clip), int(self.shape.class_token)
        match self.shape.places:
            case "table":
                return {"pos_embed": fit_tables.Places(grid, first, self.shape.tubelet[:2])}
            case "frame_table":
                found = {"pos_embed": fit_tables.Places((1, *grid[1:]), first, way="nearest")}
                return found | {"time_embed": fit_tables.Places((grid[0], 1, 1), way="nearest")}
        return {}

    def _with_tables(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Puts the class token in front and adds the learned vectors of all places."""
        assert self.pos_embed is not None
        count = int(self.shape.class_token)
        first, places = self.pos_embed.weight[:count], self.pos_embed.weight[count:]
        if self.time_embed is not None:
            places = (places + self.time_embed.weight[:, None]).flatten(0, 1)
        x = x + places
        if self.cls_token is not None:
            x = torch.cat([(self.cls_token.weight + first).expand(x.shape[0], 1, -1), x], dim=1)
        return x

    def _grid_of(self, clips: Tensor) -> tuple[int, int, int]:
        frames, height, width = clips.shape[2:]
        grid = self.shape.grid((frames, height, width))
        wanted = self.shape.grid(self.shape.clip)
        if self.pos_embed is not None and grid != wanted:
            theirs, ours = (" x ".join(map(str, size)) for size in ((frames, height, width), self.shape.clip))
            raise ValueError(
                f"this network was built for clips of {ours} (frames x height x width), not {theirs}; set clip_len and "
                f"kwargs.spatial_size"
            )
        return grid


class DividedBlock(Block):
    """Attends over the frames of each place, then over the places of each frame; the class token sees only places."""

    def __init__(self, width: int, num_heads: int, *, eps: float = 1e-6, **options: object) -> None:
        super().__init__(width, num_heads, eps=eps, **options)  # type: ignore[arg-type]
        self.temporal_norm1 = nn.LayerNorm(width, eps=eps)
        self.temporal_attn = Attention(width, num_heads)
        self.temporal_fc = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]
        """Maps the class token and the tokens of all frames, (B, 1 + frames * L, D), to the same."""
        token, places = x[:, :1], x[:, 1:].unflatten(1, (frames, -1))  # (B, 1, D), (B, T, L, D)
        rows = places.transpose(1, 2).flatten(0, 1)
        moved = self.temporal_fc(self.drop_path(self.temporal_attn(self.temporal_norm1(rows))))
        places = places + moved.unflatten(0, (-1, places.shape[2])).transpose(1, 2)
        rows = torch.cat([token[:, None].expand(-1, frames, -1, -1), places], dim=2).flatten(0, 1)
        moved = self.drop_path(self.attn(self.norm1(rows))).unflatten(0, (-1, frames))
        token = token + moved[:, :, :1].mean(1)
        x = torch.cat([token, (places + moved[:, :, 1:]).flatten(1, 2)], dim=1)
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def sines(count: int, width: int, *, like: Tensor | None = None) -> Tensor:
    """Returns sines (even channels) and cosines (odd channels) of the numbers below `count`, float32 (count, width).

    Both channels of a pair have one speed (Vaswani et al. 2017, arXiv 1706.03762, sec. 3.5).
    like: a tensor of the device on which they shall be.
    """
    device = None if like is None or like.device.type == "mps" else like.device  # which has no float64
    speeds = BASE ** -(torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
    angles = torch.arange(count, dtype=torch.float64, device=device)[:, None] * speeds
    found = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width].float()
    return found if like is None else found.to(like.device)


def rotation(grid: tuple[int, int, int], channels: int, *, like: Tensor, stretched: bool = False) -> Rotation:
    """Returns cosines and sines, float32 (T * H * W, channels), of the angles by which tokens turn their channels.

    Time, row and column have a third of a head's channels each; what is left over is not turned.

    stretched: V-JEPA 2.1's: rows and columns run from 0 to SQUARE - 1 whatever their number, and each speed belongs to
        a pair of neighbouring channels. Otherwise V-JEPA 2's: the list of speeds is repeated as a whole, which its
        weights need, although the channels that are turned together are neighbours there too.
    """
    share = 2 * (channels // 3 // 2)
    speeds = BASE ** -(torch.arange(share // 2, device=like.device) / (share / 2))
    angles = like.new_zeros((*grid, channels), dtype=torch.float32)
    for axis, count in enumerate(grid):
        places = torch.arange(count, device=like.device, dtype=torch.float32)
        if stretched and axis:
            places = places * ((SQUARE - 1) / max(count - 1, 1))
        turned = places[:, None] * speeds
        turned = turned.repeat_interleave(2, 1) if stretched else turned.repeat(1, 2)
        angles[..., axis * share : (axis + 1) * share] = turned.view(*(-1 if i == axis else 1 for i in range(3)), share)
    angles = angles.flatten(0, 2)
    return angles.cos(), angles.sin()
