"""Finds the spans of a whole video directly: each moment says what it is a part of, and where that begins and ends."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PRIOR = 0.01  # the score of every class before training (Lin et al. 2017, focal loss, section 3.3)
BESIDES = 4  # columns of a point besides its classes


class SpanPyramid(nn.Module):
    """Turns features over time into spans, without anchors, in the line of ActionFormer (Zhang et al. 2022, ECCV).

    Each level of a pyramid sees time half as finely as the one before it, and finds the longer spans. Two small heads,
    the same on all levels, give each point of a level its classes and the distances to the start and the end of its
    span. ActionFormer's levels are made by local attention, these by convolutions.

    width: channels of the features. channels: inside. levels: of the pyramid. dropout: share of the values that each
    block loses in training.
    """

    def __init__(
        self, width: int, num_class: int, *, channels: int = 256, levels: int = 6, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.enter = nn.Conv1d(width, channels, 1)
        self.stem = nn.ModuleList(_Block(channels, 1, dropout) for _ in range(2))
        self.levels = nn.ModuleList(_Block(channels, 2 if level else 1, dropout) for level in range(levels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(levels))
        self.classes, self.distances = (nn.ModuleList(_Tower(channels) for _ in range(2)) for _ in range(2))
        self.head = nn.Conv1d(channels, num_class, 3, padding=1)
        nn.init.constant_(self.head.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
        self.ends = nn.Conv1d(channels, 2, 3, padding=1)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        """Maps features (B, T, width) to P points, (B, P, K + 4), those of all levels behind each other.

        A point is the logits of K classes, the start and the end of its span, its own place, and its stride, the
        moments from one point of its level to the next. Places count moments from 0.

        there: bool (B, T), which moments are in the video. Those behind its end change nothing; their places are nan.
        """
        inside, mask = self.enter(features.transpose(1, 2)) * there[:, None], there[:, None]
        for block in self.stem:
            inside = block(inside, mask)
        found, stride = [], 1
        for level, block in enumerate(self.levels):
            inside = block(inside, mask)
            if level:
                mask, stride = mask[..., ::2], 2 * stride
            seen = self.norms[level](inside.transpose(1, 2)).transpose(1, 2) * mask
            found.append(self._points(seen, mask, stride))
        return torch.cat(found, 1)

    def _points(self, seen: Tensor, mask: Tensor, stride: int) -> Tensor:
        classes = distances = seen
        for tower in self.classes:
            classes = tower(classes, mask)
        for tower in self.distances:
            distances = tower(distances, mask)
        logits = self.head(classes).transpose(1, 2).float()  # (B, T', K)
        far = F.softplus(self.ends(distances).transpose(1, 2).float()) * stride  # (B, T', 2)
        place = torch.arange(mask.shape[-1], device=seen.device, dtype=torch.float32) * stride
        place = place.masked_fill(~mask[:, 0], math.nan)[..., None]  # (B, T', 1)
        return torch.cat([logits, place - far[..., :1], place + far[..., 1:], place, place * 0 + stride], -1)


class _Block(nn.Module):
    """A convolution over three moments with a skip connection, (B, C, T) to (B, C, T / stride)."""

    def __init__(self, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.near = nn.Conv1d(channels, channels, 3, padding=1, stride=stride)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.stride = stride

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        """Returns what it makes of `given`, (B, C, T). mask: bool (B, 1, T), the moments that are in the video."""
        normed = self.norm(given.transpose(1, 2)).transpose(1, 2) * mask
        more = self.dropout(self.mix(F.gelu(self.near(normed))))
        return (given[..., :: self.stride] + more) * mask[..., :: self.stride]


class _Tower(nn.Module):
    """A layer of a head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Conv1d(channels, channels, 3, padding=1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        return F.relu(self.norm(self.near(given).transpose(1, 2)).transpose(1, 2)) * mask
