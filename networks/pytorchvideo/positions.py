"""Adds the position of each entry to the entries of a sequence."""

from __future__ import annotations

import math

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import Triple
from utils.config.build import ArgumentError, checked


class PositionalEncoding(nn.Module):
    """Adds sines and cosines of the position to a sequence (Vaswani et al. 2017, arXiv 1706.03762, sec. 3.5).

    embed_dim: C. seq_len: the longest sequence.
    """

    pe: Tensor

    @checked
    def __init__(self, embed_dim: PositiveInt, seq_len: PositiveInt = 1024) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, embed_dim, 2) * (-math.log(10000.0) / embed_dim))
        angles = torch.arange(seq_len)[:, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
        self.register_buffer("pe", waves[None, :, :embed_dim])

    def forward(self, x: Tensor) -> Tensor:
        """Maps a sequence (B, entries, C) to the same shape. Raises: ArgumentError if it is longer than seq_len."""
        if x.shape[1] > self.pe.shape[1]:
            raise ArgumentError(f"seq_len: {self.pe.shape[1]} is shorter than a sequence of {x.shape[1]} entries")
        return x + self.pe[:, : x.shape[1]]


class SpatioTemporalClsPositionalEncoding(nn.Module):
    """Puts an entry for the class in front of the patches of a clip, and adds learned positions to all.

    embed_dim: C. patch_embed_shape: patches in time, height and width.
    sep_pos_embed: learn positions in time and in space; otherwise one for each patch.
    has_cls: put the entry for the class in front.
    """

    @checked
    def __init__(
        self, embed_dim: PositiveInt, patch_embed_shape: Triple, sep_pos_embed: bool = False, has_cls: bool = True
    ) -> None:
        super().__init__()
        time, height, width = patch_embed_shape
        self.cls_embed_on = has_cls
        self.sep_pos_embed = sep_pos_embed
        self._patch_embed_shape = time, height, width

        def learned(entries: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(1, entries, embed_dim))

        if has_cls:
            self.cls_token = learned(1)
        if sep_pos_embed:
            self.pos_embed_spatial = learned(height * width)
            self.pos_embed_temporal = learned(time)
            if has_cls:
                self.pos_embed_class = learned(1)
        else:
            self.pos_embed = learned(time * height * width + has_cls)

    def patch_embed_shape(self) -> tuple[int, int, int]:
        """Returns the patches in time, height and width."""
        return self._patch_embed_shape

    def forward(self, x: Tensor) -> Tensor:
        """Maps patches (B, patches, C) to (B, patches, C), or to one entry more with has_cls."""
        if self.cls_embed_on:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        if not self.sep_pos_embed:
            return x + self.pos_embed
        # the positions of time repeat over those of space: patches are in the order t, h, w
        positions = (self.pos_embed_temporal[:, :, None] + self.pos_embed_spatial[:, None]).flatten(1, 2)
        return x + (torch.cat([self.pos_embed_class, positions], 1) if self.cls_embed_on else positions)
