"""The end of the 3-D ResNets: a pool of fixed size, the classifier at each position, the average over positions.

No parameters live here; the networks own their dropout and `fc`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POSITION_AVERAGES = ("logits", "scores")


def pool_positions(x: Tensor, size: tuple[int | None, int | None, int | None]) -> Tensor:
    """Averages (B, C, T, H, W) over windows of `size` with stride 1; None or a too large window takes the whole axis.

    A map of the training size gives one position. A larger crop gives several: "fully convolutional" testing
    (Wang et al. 2018, arXiv 1711.07971, sec. 4.1).
    """
    extents = x.shape[2:]
    window = [whole if wanted is None else min(wanted, whole) for wanted, whole in zip(size, extents, strict=True)]
    return x.mean((2, 3, 4), keepdim=True) if window == list(extents) else F.avg_pool3d(x, window, stride=1)


def classify_positions(x: Tensor, fc: nn.Linear) -> Tensor:
    """Logits (B, positions, K) of pooled features (B, C, T', H', W')."""
    logits: Tensor = fc(x.flatten(2).transpose(1, 2))
    return logits


def average_positions(logits: Tensor, average: str) -> Tensor:
    """One row of logits (B, K) from (B, positions, K).

    `logits` averages them. `scores` averages the softmax over positions, as PySlowFast does when it evaluates, and
    returns its logarithm: these are logits too, and their softmax is exactly that average.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    if average == "logits":
        return logits.mean(1)
    return torch.logsumexp(logits.log_softmax(-1), dim=1) - math.log(logits.shape[1])
