"""Fusing evaluations in memory; the command lines over it are tested beside tools.fuse and main.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from utils.errors import UserError
from utils.scoring.evaluation import Evaluation
from utils.scoring.fusion import align, fuse, fused
from utils.scoring.task import MULTI_LABEL, SINGLE_LABEL, Task

PATHS = ["a", "b", "c", "d"]
HOT = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [-1, -1, -1]], np.int8)


def evaluation(task: Task, logits: np.ndarray, *, name: str = "x") -> Evaluation:
    labels = HOT if task is MULTI_LABEL else np.array([0, 1, 2, -1])
    scores = task.probabilities(torch.from_numpy(logits)).float().numpy()
    return Evaluation(name, PATHS, labels, scores, protocol="p")


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL], ids=["one class", "sets"])
def test_scores_of_mean_logits_are_those_of_the_networks(task: Task, rng: np.random.Generator) -> None:
    one, two = 4 * rng.normal(size=(2, 4, 3))
    both = align([evaluation(task, one), evaluation(task, two)])
    expected = task.probabilities(torch.from_numpy((one + 3 * two) / 4)).numpy()
    np.testing.assert_allclose(fuse(both, [1, 3], logits=True), expected, atol=1e-6)
    mean = (both.scores[0] + both.scores[1]) / 2
    np.testing.assert_allclose(fuse(both, [1, 1], logits=False), mean)


def test_a_logit_far_below_the_best_still_counts() -> None:
    """Two networks that are sure of different classes: the third logit decides, however small its scores are."""
    sure = (
        evaluation(SINGLE_LABEL, np.array([[60.0, 0.0, 20.0]] * 4)),
        evaluation(SINGLE_LABEL, np.array([[0.0, 59.0, 45.0]] * 4)),
    )
    assert fuse(align(sure), [1, 1], logits=True).argmax(1).tolist() == [2, 2, 2, 2]


def test_results_take_the_order_of_the_list(rng: np.random.Generator) -> None:
    one = evaluation(MULTI_LABEL, rng.normal(size=(4, 3)))
    order = [2, 0, 3, 1]
    listed = Evaluation("the val list", [PATHS[index] for index in order], HOT[order], class_names=["u", "v", "w"])
    result = fused([one, one], listed, [1, 1], logits=False)
    np.testing.assert_allclose(result.scores, one.scores[order], atol=1e-7)
    np.testing.assert_array_equal(result.labels, HOT[order])
    assert result.paths == listed.paths and result.class_names == ["u", "v", "w"] and "1 x x (p)" in result.protocol


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": HOT[:, [1, 0, 2]] * np.array([[1], [1], [0], [1]])}, "another true class of 'c'"),
        ({"labels": np.array([0, 1, 2, -1])}, "either it or x is of a multi_label list"),
        ({"paths": ["a", "b", "c", "e"]}, "'d' is in one of them only"),
        ({"scores": np.zeros((4, 2), np.float32)}, "2 classes, but x has 3"),
    ],
)
def test_what_does_not_belong_together_is_named(change: dict, words: str) -> None:
    one = evaluation(MULTI_LABEL, np.zeros((4, 3)))
    with pytest.raises(UserError, match=words):
        align([one, replace(one, name="y", **change)])
