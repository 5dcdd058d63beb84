"""Builds UniFormer, convolutions in two stages and attention in two, of any published size, with random weights.

Modules and keys are those of its authors' code (Li et al. 2022, arXiv 2201.04676).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import gelu
from torchvision.ops import StochasticDepth

from networks.clip.vit_layers import MLP, Attention, drop_path_rates, initialise
from utils.config.build import checked

STRIDE = (2, 4, 4)  # frames, height and width of a position's step behind the first stage's patches
STRIDES = ((STRIDE), *[(1, 2, 2)] * 3)  # of the patches of each stage
KERNELS = ((3, 4, 4), *[(1, 2, 2)] * 3)
AROUND = 5  # positions along each axis that the local aggregation sees
LOCAL = 2  # stages that aggregate locally
CHANNELS_OF_A_HEAD = 64
WIDTHS = (64, 128, 320, 512)
DEPTHS: dict[str, tuple[int, ...]] = {"uniformer_s": (3, 4, 8, 3), "uniformer_b": (5, 8, 20, 7)}


class Patches(nn.Module):
    """Joins neighbouring positions into one, and normalises it."""

    def __init__(self, stage: int, width: int, out: int, eps: float) -> None:
        super().__init__()
        padding = (KERNELS[stage][0] // 2, 0, 0)
        self.proj = nn.Conv3d(width, out, KERNELS[stage], stride=STRIDES[stage], padding=padding)
        self.norm = nn.LayerNorm(out, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, width, T, H, W) to (B, out, t, h, w)."""
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)


def _around_each_channel(width: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, kernel, padding=kernel // 2, groups=width)


class ConvMLP(nn.Module):
    """Maps each position of a map by itself through a layer of four times its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv3d(width, 4 * width, 1), nn.Conv3d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, width, T, H, W) to the same shape."""
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out


class LocalBlock(nn.Module):
    """Aggregates positions around each one by convolutions over single channels."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = _around_each_channel(width, 3)
        self.norm1, self.norm2 = nn.BatchNorm3d(width), nn.BatchNorm3d(width)
        self.conv1, self.conv2 = nn.Conv3d(width, width, 1), nn.Conv3d(width, width, 1)
        self.attn = _around_each_channel(width, AROUND)
        self.mlp = ConvMLP(width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, width, T, H, W) to the same shape."""
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class GlobalBlock(nn.Module):
    """Aggregates all positions of a clip by attention."""

    def __init__(self, width: int, drop_path: float, eps: float) -> None:
        super().__init__()
        self.pos_embed = _around_each_channel(width, 3)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn, self.mlp = Attention(width, width // CHANNELS_OF_A_HEAD), MLP(width, 4 * width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, width, T, H, W) to the same shape."""
        x = x + self.pos_embed(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens.transpose(1, 2).reshape(x.shape)


class UniFormer(nn.Module):
    """Classifies clips (B, 3, T, H, W) of any size: logits (B, K)."""

    def __init__(
        self,
        num_class: int,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        dropout: float,
        drop_path: float,
        eps: float,
    ) -> None:
        super().__init__()
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            inner = widths[stage - 1] if stage else 3
            self.add_module(f"patch_embed{stage + 1}", Patches(stage, inner, width, eps))
            blocks = [
                LocalBlock(width, next(rates)) if stage < LOCAL else GlobalBlock(width, next(rates), eps)
                for _ in range(depth)
            ]
            self.add_module(f"blocks{stage + 1}", nn.ModuleList(blocks))
        self.norm = nn.BatchNorm3d(widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_class)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Maps normalised clips to logits. Raises: ValueError for clips that leave nothing to attend to."""
        logits: Tensor = self.head(self.dropout(self.features(clips).mean((2, 3, 4))))
        return logits

    def features(self, clips: Tensor) -> Tensor:
        """Maps clips to the normalised map behind the last stage, (B, channels, T / 2, H / 32, W / 32)."""
        if min(clips.shape[3:]) < STRIDE[1] * 2 ** (len(STRIDES) - 1):
            raise ValueError(f"UniFormer takes frames of at least 32 x 32, not {clips.shape[3]} x {clips.shape[4]}")
        x = clips
        for stage in range(1, len(STRIDES) + 1):
            x = self.get_submodule(f"patch_embed{stage}")(x)
            for block in self.get_submodule(f"blocks{stage}").children():
                x = block(x)
        out: Tensor = self.norm(x)
        return out


def _builder(name: str) -> Callable[..., UniFormer]:
    @checked
    def build(
        num_class: PositiveInt = 400,
        *,
        dropout: float = 0.0,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        eps: Annotated[float, Field(gt=0)] = 1e-6,
        depths: Sequence[PositiveInt] | None = None,
        widths: Sequence[PositiveInt] | None = None,
    ) -> UniFormer:
        widths, depths = widths or WIDTHS, depths or DEPTHS[name]
        for key, given in (("widths", widths), ("depths", depths)):
            if len(given) != len(STRIDES):
                raise ValueError(f"{key}: give one for each of {len(STRIDES)} stages, not {len(given)}")
        if wrong := [width for width in widths[LOCAL:] if width % CHANNELS_OF_A_HEAD]:
            raise ValueError(f"widths: {wrong[0]} is not a multiple of {CHANNELS_OF_A_HEAD}, the channels of a head")
        return UniFormer(num_class, widths=widths, depths=depths, dropout=dropout, drop_path=drop_path, eps=eps)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""Builds {name} (Li et al. 2022, arXiv 2201.04676): clips (B, 3, T, H, W) -> logits (B, K).

    drop_path: probability of leaving out the last block in training; earlier blocks have less.
    eps: of the layer norms: 1e-6 in the authors' networks, 1e-5 in mmaction2's.
    depths, widths: blocks and channels of each of the four stages, by default those of the paper.
    """
    return build


BUILDERS = {name: _builder(name) for name in DEPTHS}
