"""A linear head is the best one for its weight decay, and is tested on videos that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tools.starting.heads import USUAL, cross_validate, fit, inner_folds, solve


def clouds(videos: int, width: int, *, gap: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs (N, D) of two classes, whose means differ by `gap` in one direction, with odd scales; and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(videos) % 2
    inputs = torch.randn(videos, width, generator=generator)
    inputs[:, 0] += gap * labels
    return inputs * torch.linspace(0.1, 10, width) + 5, labels


@pytest.mark.parametrize("shape", [(40, 6), (12, 200)])
def test_the_gradient_is_zero_at_the_solution(shape: tuple[int, int]) -> None:
    inputs, labels = clouds(*shape, gap=1.0)
    head = solve(inputs, labels, [1.0, 0.1], num_class=2)[1]
    scale = 1 / (inputs.std(0, correction=0) * shape[1] ** 0.5)
    rows = ((inputs - inputs.mean(0)) * scale).double()
    weight = (head.weight / scale).double().requires_grad_()
    bias = (head.bias + head.weight @ inputs.mean(0)).double().requires_grad_()
    loss = F.cross_entropy(F.linear(rows, weight, bias), labels) + 0.05 * weight.square().sum()
    loss.backward()
    assert weight.grad is not None and bias.grad is not None
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3
    assert head.scores(inputs).sum(1) == pytest.approx(np.ones(shape[0]), abs=1e-5)


def test_a_constant_feature_does_no_harm() -> None:
    inputs, labels = clouds(40, 6, gap=6.0)
    inputs[:, 3] = 2.0
    head = solve(inputs, labels, [0.01], num_class=2)[0]
    assert torch.isfinite(head.weight).all() and (head.scores(inputs).argmax(1) == labels.numpy()).mean() > 0.9


def test_noise_asks_for_more_weight_decay_than_a_clear_difference() -> None:
    groups = [str(n) for n in range(60)]
    clear = fit(*clouds(60, 4, gap=8.0), groups, num_class=2, seed=0)
    noise = fit(*clouds(60, 100, gap=0.0, seed=3), groups, num_class=2, seed=0)
    assert clear.strength < noise.strength


def test_too_few_groups_to_choose_by_get_the_usual_weight_decay() -> None:
    assert fit(*clouds(4, 6, gap=6.0), ["a", "b", "a", "b"], num_class=2, seed=0).strength == USUAL


@pytest.mark.whole
def test_videos_are_scored_by_a_head_that_has_not_seen_their_group() -> None:
    inputs, labels = clouds(40, 300, gap=0.0)
    inputs[1::2] = inputs[::2]  # each group has the same video twice, once for each class
    groups = [str(n // 2) for n in range(40)]
    for train, test in inner_folds(labels, groups, seed=0):
        assert not {groups[n] for n in train.tolist()} & {groups[n] for n in test.tolist()}
    random = clouds(40, 300, gap=0.0, seed=1)[0]
    single = [str(n) for n in range(40)]
    scores = cross_validate(random, labels, single, [n // 2 % 5 for n in range(40)], num_class=2, seed=0)
    seen = fit(random, labels, single, num_class=2, seed=0).scores(random)
    right = (scores.argmax(1) == labels.numpy()).mean(), (seen.argmax(1) == labels.numpy()).mean()
    assert right[0] < 0.75 < right[1]  # there is nothing to learn here but the videos themselves
