"""Solves linear heads on features that stay as they are, and tests them on videos that they have not seen.

A linear head with weight decay has one best solution, so nothing depends on a learning rate or on the order of videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tools.listing.splits import fold_split
from utils.errors import UserError

STRENGTHS = tuple(10.0**power for power in range(0, -5, -1))  # of weight decay, the strongest first
USUAL = 0.01  # where there are too few videos to choose
INNER_FOLDS = 3  # among the training videos, to choose one of them
STEPS = 200  # of L-BFGS, which ends earlier where nothing changes


@dataclass(frozen=True)
class Head:
    """Holds a linear classifier: logits (N, K) = inputs (N, D) @ weight (K, D).T + bias (K,).

    strength: weight decay by which it was solved.
    """

    weight: Tensor
    bias: Tensor
    strength: float

    def scores(self, inputs: Tensor) -> np.ndarray:
        """Returns softmax scores, float32 (N, K)."""
        found: np.ndarray = F.linear(inputs, self.weight, self.bias).softmax(1).numpy()
        return found


def fit(inputs: Tensor, labels: Tensor, groups: Sequence[str], *, num_class: int, seed: int) -> Head:
    """Returns the head with the weight decay that is best for held-out groups of these very videos.

    inputs: float32 (N, D). labels: int64 (N,). groups: videos of one group are never on both sides.
    """
    losses = np.zeros(len(STRENGTHS))
    for train, test in inner_folds(labels, groups, seed=seed):
        for place, head in enumerate(solve(inputs[train], labels[train], STRENGTHS, num_class=num_class)):
            logits = F.linear(inputs[test], head.weight, head.bias)
            losses[place] += float(F.cross_entropy(logits, labels[test], reduction="sum"))
    best = STRENGTHS[int(losses.argmin())] if losses.any() else USUAL
    return solve(inputs, labels, [best], num_class=num_class)[0]


def inner_folds(labels: Tensor, groups: Sequence[str], *, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the rows (train, test) of INNER_FOLDS, of two where there are too few groups, or nothing at all."""
    sets = [[str(label)] for label in labels.tolist()]
    for folds in (INNER_FOLDS, 2):
        try:
            places = torch.tensor(fold_split(sets, groups, folds=folds, seed=seed))
        except UserError:
            continue
        for fold in range(folds):
            if (places == fold).any():
                yield torch.nonzero(places != fold)[:, 0], torch.nonzero(places == fold)[:, 0]
        return


def solve(inputs: Tensor, labels: Tensor, strengths: Sequence[float], *, num_class: int) -> list[Head]:
    """Minimises mean cross entropy + strength / 2 * |weight|^2 over inputs that are standardised by these very videos.

    With fewer videos than features the solution lies in the space that the videos span, so it is sought there. Each
    search starts from the solution for the strength before.
    """
    mean, spread = inputs.mean(0), inputs.std(0, correction=0)
    scale = (1 / (torch.where(spread > 1e-6, spread, torch.ones_like(spread)) * inputs.shape[1] ** 0.5)).double()
    rows = (inputs - mean).double() * scale
    basis = torch.linalg.svd(rows, full_matrices=False).Vh if rows.shape[0] < rows.shape[1] else None
    if basis is not None:
        rows = rows @ basis.T
    weight = torch.zeros(num_class, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_class, dtype=torch.float64, requires_grad=True)
    heads: list[Head] = []
    for strength in strengths:
        _search(rows, labels, weight, bias, strength)
        found = weight.detach() if basis is None else weight.detach() @ basis
        found = (found * scale).float()
        heads.append(Head(found, bias.detach().float() - found @ mean, strength))
    return heads


def _search(rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, strength: float) -> None:
    """Moves weight and bias to the minimum."""
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(rows, weight, bias), labels) + strength / 2 * weight.square().sum()
        value.backward()
        return value

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waking the others takes longer than these small products
    try:
        optimizer.step(loss)
    finally:
        torch.set_num_threads(threads)


def cross_validate(
    inputs: Tensor, labels: Tensor, groups: Sequence[str], places: Sequence[int], *, num_class: int, seed: int
) -> np.ndarray:
    """Returns the scores of each video by a head that has not seen its fold, float32 (N, K).

    places: the fold of each video.
    """
    scores = np.zeros((len(labels), num_class), np.float32)
    of = torch.tensor(places)
    for fold in range(max(places) + 1):
        train, test = torch.nonzero(of != fold)[:, 0], torch.nonzero(of == fold)[:, 0]
        head = fit(inputs[train], labels[train], [groups[n] for n in train.tolist()], num_class=num_class, seed=seed)
        scores[test.numpy()] = head.scores(inputs[test])
    return scores
