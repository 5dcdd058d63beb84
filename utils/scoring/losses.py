"""Losses, one value per clip: the engine averages, because unreadable clips must not count."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.config.schema import Common


class LabelSmoothCrossEntropy(nn.Module):
    """Cross entropy against (1 - eps) onehot + eps / K (Szegedy et al. 2016, arXiv 1512.00567, sec. 7).

    The smoothing mass is spread over the K classes that the logits have, so a target always sums to one.
    class_weights: float (K,), a factor for each class's part of the loss.
    """

    def __init__(self, eps: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.eps = eps
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, K) of any floating type, labels int64 (B,) -> loss float32 (B,)."""
        return F.cross_entropy(
            logits.float(), labels, weight=self.class_weights, reduction="none", label_smoothing=self.eps
        )


class BinaryCrossEntropy(nn.Module):
    """K yes-or-no questions per clip: binary cross entropy against (1 - eps) multihot + eps / 2, mean over the classes.

    eps / 2 because each question has two answers, as label smoothing has it for K of them.
    class_weights: float (K,), a factor for the loss of a class where it is shown (`pos_weight` of torch).
    """

    def __init__(self, eps: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.eps = eps
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, K) of any floating type, labels multi-hot (B, K) -> loss float32 (B,)."""
        wanted = labels.float() * (1 - self.eps) + self.eps / 2
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), wanted, pos_weight=self.class_weights, reduction="none"
        )
        return losses.mean(1)


def class_factors(common: Common, counts: np.ndarray) -> Tensor | None:
    """float32 (K,): what class_weights of a config says; counts are the training videos of each class, int (K,)."""
    weights = common.class_weights
    if weights == "balanced":
        return balanced_weights(counts)
    return None if weights is None else torch.tensor(weights)


def balanced_weights(counts: np.ndarray) -> Tensor:
    """Factors inverse to the number of videos of each class, float32 (K,); their mean over the videos is 1.

    A class without videos gets 0, which no label ever asks for.
    """
    videos = torch.from_numpy(counts).double()
    present = videos > 0
    weights = torch.where(present, videos.sum() / (present.sum() * videos.clamp(min=1)), 0.0)
    return weights.float()
