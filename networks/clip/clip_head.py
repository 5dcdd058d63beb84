"""Computes the head of 3-D ResNets: a pool of fixed size, the classifier at each position, the average of positions.

It has no parameters; the networks own their dropout and `fc`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PositionAverage = Literal["logits", "scores"]


def pool_positions(x: Tensor, size: tuple[int | None, int | None, int | None]) -> Tensor:
    """Averages features (B, C, T, H, W) over windows of `size` (t, h, w) at stride 1: (B, C, T', H', W').

    None, or a window that is larger than the features, covers the whole axis. Features of the training size give one
    position. A larger crop gives several: "fully convolutional" testing (Wang et al. 2018, arXiv 1711.07971, sec. 4.1).
    """
    extents = x.shape[2:]
    window = [whole if wanted is None else min(wanted, whole) for wanted, whole in zip(size, extents, strict=True)]
    return x.mean((2, 3, 4), keepdim=True) if window == list(extents) else F.avg_pool3d(x, window, stride=1)


def classify_positions(x: Tensor, fc: nn.Linear) -> Tensor:
    """Classifies every position of pooled features (B, C, T', H', W'): logits (B, positions, K)."""
    logits: Tensor = fc(x.flatten(2).transpose(1, 2))
    return logits


def average_positions(logits: Tensor, average: PositionAverage) -> Tensor:
    """Averages the logits of all positions (B, positions, K) to logits (B, K).

    average: `logits` takes their mean. `scores` takes the mean of their softmax, as PySlowFast does in evaluation, and
        returns its logarithm: these are logits too, and their softmax is exactly that mean.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    if average == "logits":
        return logits.mean(1)
    return torch.logsumexp(logits.log_softmax(-1), dim=1) - math.log(logits.shape[1])
