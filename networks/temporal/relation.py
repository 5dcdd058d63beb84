"""Implements the relations of TRN, which look at ordered groups of frames instead of averaging their scores."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

PROJECTED = 256  # features of a frame inside
DRAWN = 3  # relations of each scale but the largest that count in a clip
MOST = 128  # relations of a scale that an evaluation looks at


def counted(existing: int) -> int:
    """Returns how many relations of a scale count in a clip; the largest scale has only one."""
    return min(DRAWN, existing)


class Relations(nn.Module):
    """Maps features of frames (B, T, F) to features of the clip for a classifier (Zhou et al. 2018, arXiv 1711.08496).

    A relation of scale n is n frames in their order. The largest scale has one, with all frames; of every other scale
    a training draws three for each batch. The authors' code draws them in tests too; here an evaluation averages over
    all of a scale (128 of them if there are more), which is what such draws give on average.

    multiscale: also relations of 2 to T - 1 frames.
    """

    def __init__(self, width: int, *, num_frames: int, multiscale: bool) -> None:
        super().__init__()
        if num_frames < 2:
            raise ValueError(f"num_segments: relations need at least 2 frames, but there is {num_frames}")
        self.num_frames = num_frames
        hidden = 256 if multiscale else 512
        sizes = range(num_frames, 1, -1) if multiscale else [num_frames]
        self.project = nn.Linear(width, PROJECTED)
        self.scales = nn.ModuleList([nn.Linear(size * PROJECTED, hidden) for size in sizes])
        self.relations = [list(itertools.combinations(range(num_frames), size)) for size in sizes]
        self.out_features = hidden * len(self.scales)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (B, T, F) to (B, out_features)."""
        frames = self.project(features).relu()
        found = []
        for scale, relations in zip(self.scales, self.relations, strict=True):
            count = counted(len(relations))
            chosen = self._choose(relations, count)
            groups = frames[:, torch.tensor(chosen, device=frames.device)].flatten(2)  # B, R, n * PROJECTED
            found.append(count * scale(groups).relu().mean(1))
        return torch.cat(found, 1)

    def _choose(self, relations: list[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
        """Returns the relations of a scale that are looked at now."""
        if self.training:
            return [relations[index] for index in torch.randperm(len(relations))[:count].tolist()]
        step = max(1.0, len(relations) / MOST)
        return [relations[int(index * step)] for index in range(min(len(relations), MOST))]
