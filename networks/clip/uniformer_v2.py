"""Builds UniFormerV2, CLIP's image transformer with blocks that read all frames, of any published size.

Modules are those of its authors' code (Li et al. 2022, arXiv 2211.09552); the weights are random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import linear
from torchvision.ops import StochasticDepth

from networks.clip.fit_tables import Places
from networks.clip.vit_layers import STD, Table, attend, drop_path_rates
from utils.config.build import checked

HEAD = 64  # channels of a head


@dataclass(frozen=True)
class Size:
    """Describes a network of the paper: channels, blocks, side of a patch in pixels, blocks that are read.

    clip: what timm calls the image tower of CLIP that it begins with.
    """

    width: int
    depth: int
    patch: int
    reads: int
    clip: str = ""


SIZES = {
    "uniformerv2_b": Size(768, 12, 16, 4, "vit_base_patch16_clip_quickgelu_224"),
    "uniformerv2_l": Size(1024, 24, 14, 4, "vit_large_patch14_clip_quickgelu_224"),
}


# what CLIP's image tower does not have
ADDED = re.compile(r".*\b(lmhra[12]|dpe|dec|temporal_cls_token|balance)\b.*|(.+\.)?transformer\.norm\..+")
FROM_CLIP = (  # timm's names of its entries, and ours
    (r"^cls_token$", "class_embedding.weight"),
    (r"^pos_embed$", "positional_embedding.weight"),
    (r"^patch_embed\.proj\.", "conv1."),
    (r"^norm_pre\.", "ln_pre."),
    (r"^blocks\.", "transformer.resblocks."),
    (r"(resblocks\.\d+)\.norm([12])\.", r"\1.ln_\2."),
    (r"\.attn\.qkv\.", ".attn.in_proj."),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


class QuickGELU(nn.Module):
    """Multiplies by a sigmoid, as CLIP does where others take the GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps any shape to itself."""
        return x * torch.sigmoid(1.702 * x)


def _mlp(width: int, dropout: float = 0.0) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU()}
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    mlp = nn.Sequential()
    for name, layer in (layers | {"c_proj": nn.Linear(4 * width, width)}).items():
        mlp.add_module(name, layer)
    return mlp


class Attention(nn.Module):
    """Lets some tokens attend to others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // HEAD
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj.weight)
        for bias in (self.in_proj.bias, self.out_proj.bias):
            nn.init.zeros_(bias)

    def forward(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """Maps tokens that ask (B, R, width) and those that answer (B, L, width) to (B, R, width)."""
        given = (asking, tokens, tokens)
        parts = zip(given, self.in_proj.weight.chunk(3), self.in_proj.bias.chunk(3), strict=True)
        q, k, v = (linear(*part) for part in parts)
        out: Tensor = self.out_proj(attend(q, k, v, self.num_heads))
        return out


class LocalMixing(nn.Module):
    """Mixes neighbouring frames at each position, channel by channel; it begins by adding nothing."""

    def __init__(self, width: int, reduction: float) -> None:
        super().__init__()
        inner = int(width / reduction)
        self.pos_embed = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.Conv3d(width, inner, 1),
            nn.Conv3d(inner, inner, (3, 1, 1), padding=(1, 0, 0), groups=inner),
            nn.Conv3d(inner, width, 1),
        )
        for value in self.pos_embed[3].parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Maps the tokens of frames (B*T, 1 + H*W, width) to what is added to them; nothing to the class token."""
        patches = x[:, 1:].unflatten(0, (-1, num_frames)).permute(0, 3, 1, 2)[..., None]  # B, width, T, H*W, 1
        mixed = self.pos_embed(patches)[..., 0].permute(0, 2, 3, 1).flatten(0, 1)
        return torch.cat([torch.zeros_like(x[:, :1]), mixed], 1)


class FrameBlock(nn.Module):
    """Runs CLIP's block over each frame, with local mixing of frames in front of its halves where there is any."""

    def __init__(self, width: int, *, local: bool, double: bool, reduction: float, drop_path: float) -> None:
        super().__init__()
        self.lmhra1 = LocalMixing(width, reduction) if local else None
        self.lmhra2 = LocalMixing(width, reduction) if local and double else None
        self.attn = Attention(width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = _mlp(width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Maps the tokens of frames (B*T, 1 + H*W, width) to the same shape."""
        if self.lmhra1 is not None:
            x = x + self.drop_path(self.lmhra1(x, num_frames))
        normed = self.ln_1(x)
        x = x + self.drop_path(self.attn(normed, normed))
        if self.lmhra2 is not None:
            x = x + self.drop_path(self.lmhra2(x, num_frames))
        out: Tensor = x + self.drop_path(self.mlp(self.ln_2(x)))
        return out


class Reader(nn.Module):
    """Lets one token of a clip read the tokens of all its frames; it begins by adding nothing."""

    def __init__(self, width: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1, self.ln_2, self.ln_3 = (nn.LayerNorm(width) for _ in range(3))
        self.mlp = _mlp(width, dropout)
        self.drop_path = StochasticDepth(drop_path, "row")
        for layer in (self.attn.out_proj, self.mlp[-1]):
            for value in layer.parameters():
                nn.init.zeros_(value)

    def forward(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """Maps the token (B, 1, width), which reads (B, L, width), to (B, 1, width)."""
        x = asking + self.drop_path(self.attn(self.ln_1(asking), self.ln_3(tokens)))
        out: Tensor = x + self.drop_path(self.mlp(self.ln_2(x)))
        return out


class Transformer(nn.Module):
    """Runs the blocks over frames, and reads the tokens behind some of them; see `uniformerv2_b` for the arguments."""

    def __init__(
        self,
        size: Size,
        reads: Sequence[int],
        *,
        local: bool,
        double: bool,
        reduction: float,
        dropout: float,
        drop_path: tuple[float, float],
    ) -> None:
        super().__init__()
        rates = drop_path_rates(drop_path[0], size.depth)
        deep = drop_path_rates(drop_path[1], len(reads))
        self.reads = tuple(reads)
        self.resblocks = nn.ModuleList(
            FrameBlock(size.width, local=local, double=double, reduction=reduction, drop_path=rate) for rate in rates
        )
        self.temporal_cls_token = Table(1, size.width)
        self.dpe = nn.ModuleList(nn.Conv3d(size.width, size.width, 3, padding=1, groups=size.width) for _ in reads)
        self.dec = nn.ModuleList(Reader(size.width, dropout, rate) for rate in deep)
        self.balance = Table(1, size.width)
        self.norm = nn.LayerNorm(size.width)
        for table in (self.temporal_cls_token, self.balance):
            nn.init.zeros_(table.weight)

    def forward(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Maps the tokens of frames (B*T, 1 + H*W, width) of a grid T, H, W to features of clips (B, width)."""
        num_frames = grid[0]
        asking = self.temporal_cls_token.weight.repeat(x.shape[0] // num_frames, 1, 1)
        for index, block in enumerate(self.resblocks):
            x = block(x, num_frames)
            if index in self.reads:
                place = self.reads.index(index)
                asking = self.dec[place](asking, self._placed(self.dpe[place], x, grid))
        share = self.balance.weight.sigmoid()
        mean = x[:, 0].unflatten(0, (-1, num_frames)).mean(1)
        out: Tensor = self.norm((1 - share) * asking[:, 0] + share * mean)
        return out

    def patches(self, x: Tensor, num_frames: int) -> Tensor:
        """Maps the tokens of frames (B*T, 1 + H*W, width) to those of patches behind all blocks (B, T, H*W, width)."""
        for block in self.resblocks:
            x = block(x, num_frames)
        return x[:, 1:].unflatten(0, (-1, num_frames))

    def _placed(self, places: nn.Module, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Returns the tokens of whole clips (B, T * (1 + H*W), width), those of patches with their places."""
        clips = x.unflatten(0, (-1, grid[0]))
        maps = clips[:, :, 1:].permute(0, 3, 1, 2).unflatten(3, grid[1:])  # B, width, T, H, W
        patches = (maps + places(maps)).flatten(3).permute(0, 2, 3, 1)
        return torch.cat([clips[:, :, :1], patches], 2).flatten(1, 2)


class UniFormerV2(nn.Module):
    """Classifies clips (B, 3, T, H, W) whose frames have the size that its position table is for: logits (B, K)."""

    def __init__(
        self, num_class: int, size: Size, transformer: Transformer, *, side: int, halved: bool, dropout: float
    ) -> None:
        super().__init__()
        if side % size.patch:
            raise ValueError(f"spatial_size: {side} is not a multiple of {size.patch}, the side of a patch")
        kernel, stride, padding = (3, 2, 1) if halved else (1, 1, 0)
        self.side, self.halved = side, halved
        self.conv1 = nn.Conv3d(
            3,
            size.width,
            (kernel, size.patch, size.patch),
            stride=(stride, size.patch, size.patch),
            padding=(padding, 0, 0),
            bias=False,
        )
        self.class_embedding = Table(1, size.width)
        self.positional_embedding = Table((side // size.patch) ** 2 + 1, size.width)
        self.ln_pre = nn.LayerNorm(size.width)
        self.transformer = transformer
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(size.width, num_class)
        nn.init.trunc_normal_(self.head.weight, std=STD)
        nn.init.zeros_(self.head.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Maps normalised clips to logits. Raises: ValueError for frames of another size, or an odd number of them."""
        x, grid = self._frames(clips)
        logits: Tensor = self.head(self.dropout(self.transformer(x, grid)))
        return logits

    def tables(self) -> dict[str, Places]:
        """Returns its learned table."""
        side = self.side // self.conv1.stride[1]
        return {"positional_embedding": Places((1, side, side), first=1)}

    def tokens(self, clips: Tensor) -> Tensor:
        """Maps clips to the tokens of patches behind all blocks, (B, T, H*W, channels)."""
        x, grid = self._frames(clips)
        return self.transformer.patches(x, grid[0])

    def _frames(self, clips: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Returns the tokens of frames (B*T, 1 + H*W, channels), and T, H and W."""
        if tuple(clips.shape[3:]) != (self.side, self.side):
            raise ValueError(
                f"this UniFormerV2 was built for frames of {self.side} x {self.side}, not {clips.shape[3]} x "
                f"{clips.shape[4]}; set kwargs.spatial_size"
            )
        if self.halved and clips.shape[2] % 2:
            raise ValueError(f"this UniFormerV2 joins two frames, and takes no clip of {clips.shape[2]}")
        maps = self.conv1(clips)  # B, channels, T, H, W
        frames = maps.transpose(1, 2).flatten(0, 1).flatten(2).transpose(1, 2)
        first = self.class_embedding.weight.repeat(frames.shape[0], 1, 1)
        x = self.ln_pre(torch.cat([first, frames], 1) + self.positional_embedding.weight)
        return x, (maps.shape[2], maps.shape[3], maps.shape[4])


def from_clip(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names the entries of timm's image tower of CLIP as UniFormerV2 does; patches see the frame in the middle.

    own: entries of the network that starts from them. What it adds to CLIP begins by adding nothing; the norm behind
    CLIP's blocks has no place in it.
    """
    found = {}
    for key, value in state.items():
        for theirs, ours in FROM_CLIP:
            key = re.sub(theirs, ours, key)
        if key.endswith("embedding.weight"):
            value = value.reshape(-1, value.shape[-1])
        if key == "conv1.weight" and value.ndim == 4:
            value = nn.functional.pad(value.unsqueeze(2), (0, 0, 0, 0, *[own[key].shape[2] // 2] * 2))
        if not key.startswith("norm."):
            found[key] = value
    return found


def _builder(name: str) -> Callable[..., UniFormerV2]:
    @checked
    def build(
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.5,
        spatial_size: PositiveInt = 224,
        depth: PositiveInt | None = None,
        embed_dim: PositiveInt | None = None,
        reads: Sequence[NonNegativeInt] | None = None,
        local: bool = False,
        double_local: bool = True,
        halve_frames: bool = False,
        reduction: Annotated[float, Field(ge=1)] = 1.5,
        reader_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        reader_drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> UniFormerV2:
        known = SIZES[name]
        size = Size(embed_dim or known.width, depth or known.depth, known.patch, known.reads)
        if size.width % HEAD:
            raise ValueError(f"embed_dim: {size.width} is not a multiple of {HEAD}, the channels of a head")
        blocks = range(max(size.depth - size.reads, 0), size.depth) if reads is None else sorted(set(reads))
        if not blocks or max(blocks) >= size.depth:
            raise ValueError(f"reads: name some of the {size.depth} blocks, which count from 0, not {[*blocks]}")
        transformer = Transformer(
            size,
            blocks,
            local=local,
            double=double_local,
            reduction=reduction,
            dropout=reader_dropout,
            drop_path=(drop_path, reader_drop_path),
        )
        return UniFormerV2(num_class, size, transformer, side=spatial_size, halved=halve_frames, dropout=dropout)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""Builds {name} (Li et al. 2022, arXiv 2211.09552): clips (B, 3, T, H, W) -> logits (B, K).

    The defaults are the networks of Kinetics; those of Something-Something have local: True, halve_frames: True and
    more blocks in `reads`.

    spatial_size: H and W, a multiple of the side of a patch, {SIZES[name].patch}.
    depth, embed_dim: blocks and channels, by default those of CLIP's network.
    reads: blocks behind which a token reads all frames, counted from 0; the last {SIZES[name].reads} by default.
    local: whether each block mixes neighbouring frames, in front of its attention and, with double_local, of its MLP.
    halve_frames: whether patches cover three frames at every second one.
    reduction: how many times fewer channels the local mixing has inside.
    reader_dropout: share of the channels that the readers drop in training.
    drop_path, reader_drop_path: probability of leaving out the last block, or reader; earlier ones have less.
    """
    return build


BUILDERS = {name: _builder(name) for name in SIZES}
