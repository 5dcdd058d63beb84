"""Mixes pairs of clips and their labels (mix-up and cut-mix), on normalised float clips and on their device.

The draw depends on the batch, so it comes from a generator of [seed, step, rank] and not from a sample's own generator.
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
    """Holds one draw: row i keeps a share `lam` of itself and gets 1 - lam of row `permutation[i]`.

    lam: the share, 0..1.
    permutation: int64 (B,), the partner of each row.
    box: (top, left, height, width) that cut-mix replaces in all frames; None for mix-up, which blends whole frames.
    """

    lam: float
    permutation: Tensor
    box: tuple[int, int, int, int] | None = None

    def clips(self, clips: Tensor) -> Tensor:
        """Returns mixed clips (B, C, T, H, W) in the memory layout of `clips`, which are not changed."""
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
        """Returns lam * L(own labels) + (1 - lam) * L(labels of the partners), where L is `criterion`; float (B,)."""
        return self.average(criterion(logits, labels), criterion(logits, self.partners(labels)))

    def partners(self, labels: Tensor) -> Tensor:
        """Returns the label of each row's partner, (B,)."""
        return labels[self.permutation.to(labels.device, non_blocking=True)]

    def average(self, own: Value, partner: Value) -> Value:
        """Averages a loss or an accuracy for the own and for the partners' labels, with the weights of the clips."""
        return self.lam * own + (1 - self.lam) * partner


class MixUp:
    """Draws mix-up (Zhang et al. 2017, arXiv 1710.09412) or cut-mix (Yun et al. 2019, arXiv 1905.04899) for each batch.

    With both on, each batch takes one of them with equal chance.

    alpha: mix-up draws one share per batch from Beta(alpha, alpha); 0 is off.
    cutmix_alpha: alpha of the distribution for cut-mix; 0 is off.
    """

    def __init__(self, alpha: float = 0.0, cutmix_alpha: float = 0.0) -> None:
        self.alpha, self.cutmix_alpha = alpha, cutmix_alpha

    def __bool__(self) -> bool:
        return self.alpha > 0 or self.cutmix_alpha > 0

    def draw(self, rng: np.random.Generator, batch_size: int, height: int, width: int) -> Mix | None:
        """Draws how to mix a batch of `batch_size` clips of height x width; None when both are off."""
        if not self:
            return None
        cut = self.cutmix_alpha > 0 and (self.alpha <= 0 or bool(rng.random() < 0.5))
        alpha = self.cutmix_alpha if cut else self.alpha
        lam = float(rng.beta(alpha, alpha))
        permutation = torch.from_numpy(rng.permutation(batch_size))
        if not cut:
            return Mix(lam, permutation)
        # a rectangle of share 1 - lam around a random centre, cut off at the border; lam becomes what is really left
        h, w = int(height * math.sqrt(1 - lam)), int(width * math.sqrt(1 - lam))
        y, x = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = max(y - h // 2, 0), min(y + h // 2, height)
        left, right = max(x - w // 2, 0), min(x + w // 2, width)
        box = (top, left, bottom - top, right - left)
        return Mix(1 - box[2] * box[3] / (height * width), permutation, box)
