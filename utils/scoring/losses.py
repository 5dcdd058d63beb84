"""Losses that return one value per clip; the training step averages them, because unreadable clips must not count."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.config.schema import Common


class LabelSmoothCrossEntropy(nn.Module):
    """Computes cross entropy against (1 - eps) onehot + eps / K (Szegedy et al. 2016, arXiv 1512.00567, sec. 7).

    K is the number of classes that the logits have, so a target always sums to one.

    eps: share of the target that is spread over all K classes.
    class_weights: float (K,), a factor for each class's part of the loss.
    """

    def __init__(self, eps: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.eps = eps
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Maps logits (B, K) of any floating type and labels int64 (B,) to losses float32 (B,)."""
        return F.cross_entropy(
            logits.float(), labels, weight=self.class_weights, reduction="none", label_smoothing=self.eps
        )


class BinaryCrossEntropy(nn.Module):
    """Computes binary cross entropy against (1 - eps) multihot + eps / 2, averaged over the K classes of a clip.

    Each class is a yes-or-no question of its own. Its smoothing is eps / 2 because such a question has two answers.

    eps: share of the target that is spread over the two answers.
    class_weights: float (K,), a factor for the loss of a class in clips that show it (torch's `pos_weight`).
    """

    def __init__(self, eps: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.eps = eps
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Maps logits (B, K) of any floating type and multi-hot labels (B, K) to losses float32 (B,)."""
        wanted = labels.float() * (1 - self.eps) + self.eps / 2
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), wanted, pos_weight=self.class_weights, reduction="none"
        )
        return losses.mean(1)


def class_factors(common: Common, counts: np.ndarray) -> Tensor | None:
    """Returns the factors that the config key class_weights asks for, float32 (K,), or None without it.

    counts: int (K,), the number of training videos of each class.
    """
    weights = common.class_weights
    if weights == "balanced":
        return balanced_weights(counts)
    return None if weights is None else torch.tensor(weights)


def balanced_weights(counts: np.ndarray) -> Tensor:
    """Returns factors inverse to the number of videos of each class, float32 (K,); their mean over the videos is 1.

    A class without videos gets 0, which no label ever uses.
    """
    videos = torch.from_numpy(counts).double()
    present = videos > 0
    weights = torch.where(present, videos.sum() / (present.sum() * videos.clamp(min=1)), 0.0)
    return weights.float()
