"""Losses, one value per clip: the engine averages, because unreadable clips must not count."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LabelSmoothCrossEntropy(nn.Module):
    """Cross entropy against (1 - eps) onehot + eps / K (Szegedy et al. 2016, arXiv 1512.00567, sec. 7).

    The smoothing mass is spread over the K classes that the logits have, so a target always sums to one.
    """

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, K) of any floating type, labels int64 (B,) -> loss float32 (B,)."""
        return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=self.eps)
