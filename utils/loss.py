"""Losses, one value per clip: the engine averages, because unreadable clips must not count."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.config import Common


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


def make_criterion(common: Common, labels: np.ndarray) -> LabelSmoothCrossEntropy:
    """The loss of a config; labels are those of the training list, int (N,)."""
    weights = common.class_weights
    if weights == "balanced":
        factors: Tensor | None = balanced_weights(np.bincount(labels, minlength=common.model.num_class))
    else:
        factors = None if weights is None else torch.tensor(weights)
    return LabelSmoothCrossEntropy(common.label_smooth, factors)


def balanced_weights(counts: np.ndarray) -> Tensor:
    """Factors inverse to the number of videos of each class, float32 (K,); their mean over the videos is 1.

    A class without videos gets 0, which no label ever asks for.
    """
    videos = torch.from_numpy(counts).double()
    present = videos > 0
    weights = torch.where(present, videos.sum() / (present.sum() * videos.clamp(min=1)), 0.0)
    return weights.float()
