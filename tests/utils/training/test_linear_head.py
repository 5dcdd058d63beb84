"""A linear head is the best one for its weight decay, which is chosen by videos that were held out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from utils.scoring.losses import BinaryCrossEntropy, LabelSmoothCrossEntropy
from utils.training.linear_head import Head, best_head, solve

DECAYS = [1.0, 0.1, 0.01, 0.001, 0.0001]
GIVEN: dict[str, Any] = {"criterion": LabelSmoothCrossEntropy(0.0, None), "num_class": 2}


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
    head = solve(inputs, labels, [1.0, 0.1], **GIVEN)[1]
    scale = 1 / (inputs.std(0, correction=0) * shape[1] ** 0.5)
    rows = ((inputs - inputs.mean(0)) * scale).double()
    weight = (head.weight / scale).double().requires_grad_()
    bias = (head.bias + head.weight @ inputs.mean(0)).double().requires_grad_()
    loss = F.cross_entropy(F.linear(rows, weight, bias), labels) + 0.05 * weight.square().sum()
    loss.backward()
    assert weight.grad is not None and bias.grad is not None
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3


def test_a_constant_feature_does_no_harm() -> None:
    inputs, labels = clouds(40, 6, gap=6.0)
    inputs[:, 3] = 2.0
    head = solve(inputs, labels, [0.01], **GIVEN)[0]
    assert torch.isfinite(head.weight).all() and (head.logits(inputs).argmax(1) == labels).float().mean() > 0.9


def thirds(videos: int) -> list[int]:
    return [number // 2 % 3 for number in range(videos)]


def test_noise_asks_for_more_weight_decay_than_a_clear_difference() -> None:
    clear = best_head(*clouds(60, 4, gap=8.0), DECAYS, thirds(60), **GIVEN)
    noise = best_head(*clouds(60, 100, gap=0.0, seed=3), DECAYS, thirds(60), **GIVEN)
    assert clear.decay < noise.decay


def test_where_nothing_can_be_held_out_the_middle_weight_decay_is_taken() -> None:
    assert best_head(*clouds(4, 6, gap=6.0), DECAYS, None, **GIVEN).decay == 0.01


def test_no_head_is_judged_by_videos_that_it_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = clouds(30, 5, gap=1.0)
    inputs[:, 4] = torch.arange(30)
    learned: list[set[float]] = []

    def spied(rows: Tensor, labels: Tensor, decays: list[float], **given: Any) -> list[Head]:
        learned.append(set(rows[:, 4].tolist()))
        return solve(rows, labels, decays, **given)

    monkeypatch.setattr("utils.training.linear_head.solve", spied)
    best_head(inputs, labels, DECAYS, thirds(30), **GIVEN)
    everything = set(range(30))
    held_out = [everything - seen for seen in learned]
    assert [len(part) for part in held_out] == [10, 10, 10, 0]  # the last one learns from all
    assert set().union(*held_out) == everything


def test_several_classes_at_once_are_several_heads() -> None:
    inputs, one = clouds(40, 6, gap=4.0)
    labels = torch.stack([one, 1 - one, torch.arange(40) // 20], 1).to(torch.int8)
    head = solve(inputs, labels, [0.01], criterion=BinaryCrossEntropy(0.0, None), num_class=3)[0]
    found = head.logits(inputs) > 0
    assert (found[:, :2] == labels[:, :2].bool()).float().mean() > 0.9
