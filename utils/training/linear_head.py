"""Finds the best linear classifier of features that stay as they are.

With weight decay there is one, so nothing depends on a learning rate or on the order of videos.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROUNDING = 1e-6  # of float32
STEPS = 200  # of L-BFGS, which ends earlier where nothing changes
SMALL = 10**7  # products of one pass, below which waking other threads takes longer than they save


@dataclass(frozen=True)
class Head:
    """Holds a linear classifier: logits (N, K) = inputs (N, D) @ weight (K, D).T + bias (K,).

    decay: the weight decay by which it was found.
    """

    weight: Tensor
    bias: Tensor
    decay: float

    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K) of inputs (N, D)."""
        return F.linear(inputs, self.weight, self.bias)


def best_head(
    inputs: Tensor,
    labels: Tensor,
    decays: Sequence[float],
    parts: Sequence[int] | None,
    *,
    criterion: nn.Module,
    num_class: int,
) -> Head:
    """Returns the head with the weight decay whose loss is least for parts of the videos that were held out.

    inputs: float32 (N, D). labels: as the criterion takes them, N.
    decays: in descending order. parts: of each video, from 0 on; None if there are too few to hold any out, where the
        middle one of the decays is taken.
    criterion: maps logits (N, K) and labels to losses (N,).
    """
    if len(decays) == 1 or parts is None:
        return solve(inputs, labels, [decays[len(decays) // 2]], criterion=criterion, num_class=num_class)[0]
    losses, of = np.zeros(len(decays)), torch.tensor(parts)
    for part in sorted({*parts}):
        train, test = torch.nonzero(of != part)[:, 0], torch.nonzero(of == part)[:, 0]
        heads = solve(inputs[train], labels[train], decays, criterion=criterion, num_class=num_class)
        losses += [float(criterion(head.logits(inputs[test]), labels[test]).sum()) for head in heads]
    return solve(inputs, labels, [decays[int(losses.argmin())]], criterion=criterion, num_class=num_class)[0]


def solve(
    inputs: Tensor, labels: Tensor, decays: Sequence[float], *, criterion: nn.Module, num_class: int
) -> list[Head]:
    """Minimises mean loss + decay / 2 * |weight|^2 over inputs that are standardised by these very videos.

    With fewer videos than features the solution lies in the space that the videos span, so it is sought there. Each
    search starts from the solution for the decay before.
    """
    mean, spread = inputs.mean(0), inputs.std(0, correction=0)
    spread = torch.where(spread > ROUNDING * mean.abs(), spread, torch.inf)  # constant but for rounding: no weight
    scale = 1 / (spread.double() * inputs.shape[1] ** 0.5)
    rows = (inputs - mean).double() * scale
    basis = torch.linalg.svd(rows, full_matrices=False).Vh if rows.shape[0] < rows.shape[1] else None
    if basis is not None:
        rows = rows @ basis.T
    weight = torch.zeros(num_class, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_class, dtype=torch.float64, requires_grad=True)
    exact = copy.deepcopy(criterion).double()
    heads: list[Head] = []
    for decay in decays:
        _search(rows, labels, weight, bias, decay, exact)
        found = weight.detach() if basis is None else weight.detach() @ basis
        found = (found * scale).float()
        heads.append(Head(found, bias.detach().float() - found @ mean, decay))
    return heads


def _search(rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, decay: float, criterion: nn.Module) -> None:
    """Moves weight and bias to the minimum."""
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = criterion(F.linear(rows, weight, bias), labels).mean() + decay / 2 * weight.square().sum()
        value.backward()
        return value

    threads = torch.get_num_threads()
    torch.set_num_threads(1 if rows.numel() * len(bias) < SMALL else threads)
    try:
        optimizer.step(loss)
    finally:
        torch.set_num_threads(threads)
