"""Mix-up and cut-mix: two clips and their labels become one. Works on normalised float clips, on their device.

What is mixed depends on the batch, so it is drawn per step from [seed, step, rank], not from a sample's generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Value = TypeVar("Value", float, Tensor)


@dataclass(frozen=True)
class Mix:
    """One draw: row i keeps a share `lam` of itself and gets 1 - lam of row `permutation[i]`.

    permutation: int64 (B,).
    box: (top, left, height, width) that is replaced in all frames (cut-mix), None blends (mix-up).
    """

    lam: float
    permutation: Tensor
    box: tuple[int, int, int, int] | None = None

    def clips(self, clips: Tensor) -> Tensor:
        """Mixed clips (B, C, T, H, W) with the memory layout of `clips`, which stay as they are."""
        mixed = torch.empty_like(clips) if self.box is None else clips.clone()
        top, left, height, width = self.box or (0, 0, 0, 0)
        inside = ..., slice(top, top + height), slice(left, left + width)
        for row, partner in enumerate(self.permutation.tolist()):  # one pass, and no copy of the permuted batch
            if self.box is None:
                torch.lerp(clips[partner], clips[row], self.lam, out=mixed[row])
            else:
                mixed[row][inside] = clips[partner][inside]
        return mixed

    def loss(self, criterion: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
        """lam * L(own labels) + (1 - lam) * L(the partner's labels)."""
        return self.average(criterion(logits, labels), criterion(logits, self.partners(labels)))

    def partners(self, labels: Tensor) -> Tensor:
        """The other label of each row, (B,)."""
        return labels[self.permutation.to(labels.device, non_blocking=True)]

    def average(self, own: Value, partner: Value) -> Value:
        """A figure for the own and for the partner's labels, weighed as the clips are; also for accuracies."""
        return self.lam * own + (1 - self.lam) * partner


class MixUp:
    """Mix-up (Zhang et al. 2017, arXiv 1710.09412) and cut-mix (Yun et al. 2019, arXiv 1905.04899).

    alpha, cutmix_alpha: of Beta(alpha, alpha), from which one share per batch is drawn; a falsy one is off.
    With both on, each batch takes one of them with equal chance.
    """

    def __init__(self, alpha: float | None = None, cutmix_alpha: float | None = None) -> None:
        self.alpha = float(alpha or 0.0)
        self.cutmix_alpha = float(cutmix_alpha or 0.0)

    def __bool__(self) -> bool:
        return self.alpha > 0 or self.cutmix_alpha > 0

    def draw(self, rng: np.random.Generator, batch_size: int, height: int, width: int) -> Mix | None:
        """Draws for one batch of `batch_size` clips, with `rng` from [seed, step, rank]; None when off."""
        if not self:
            return None
        cut = self.cutmix_alpha > 0 and (self.alpha <= 0 or bool(rng.random() < 0.5))
        alpha = self.cutmix_alpha if cut else self.alpha
        lam = float(rng.beta(alpha, alpha))
        permutation = torch.from_numpy(rng.permutation(batch_size))
        if not cut:
            return Mix(lam, permutation)
        # a rectangle of that share anywhere, cut off at the border; lam becomes what is really left
        h, w = int(height * math.sqrt(1 - lam)), int(width * math.sqrt(1 - lam))
        y, x = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = max(y - h // 2, 0), min(y + h // 2, height)
        left, right = max(x - w // 2, 0), min(x + w // 2, width)
        box = (top, left, bottom - top, right - left)
        return Mix(1 - box[2] * box[3] / (height * width), permutation, box)
