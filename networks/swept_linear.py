"""Trains several linear classifiers side by side, and answers with the one that was best on other videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class SweptLinear(nn.Linear):
    """Is the classifier that `choose` has taken last; in training it gives the logits of all candidates instead.

    new: makes a classifier for a width and a number of classes.
    decays: weight decay of each candidate.
    """

    def __init__(
        self, width: int, num_class: int, new: Callable[[int, int], nn.Linear], decays: Sequence[float]
    ) -> None:
        super().__init__(width, num_class)
        self.decays = tuple(decays)
        self.candidates = nn.ModuleList(new(width, num_class) for _ in decays)
        self.requires_grad_(False)  # its own weights are copies
        self.candidates.requires_grad_(True)
        self.choose(0)

    def forward(self, rows: Tensor) -> Tensor:
        """Maps rows (B, D) to logits (B, K), in training (S * B, K), those of one candidate after the other."""
        if self.training:
            return torch.cat([candidate(rows) for candidate in self.candidates])
        return super().forward(rows)

    @torch.no_grad()
    def choose(self, number: int) -> None:
        """Takes over the weights that a candidate has now."""
        self.load_state_dict(self.candidates[number].state_dict(), strict=False)
