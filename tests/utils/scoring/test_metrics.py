"""The numbers of an evaluation: invariants, hand-counted values, small class counts, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.errors import UserError
from utils.scoring.metrics import (
    accuracy,
    class_accuracy,
    confusion_matrix,
    mean_class_accuracy,
    mean_over_classes,
    top_classes,
    topk_accuracy,
    topk_hits,
    wilson_interval,
)

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.3, 0.4, 0.3]])
LABELS = np.array([0, 1, 1, 2])


def test_top1_and_top5_of_three_classes_counted_by_hand() -> None:
    assert topk_accuracy(SCORES, LABELS) == 50.0
    assert topk_accuracy(SCORES, LABELS, k=2) == 75.0
    assert topk_accuracy(SCORES, LABELS, k=5) == 100.0


@pytest.mark.parametrize("num_class", [1, 2, 4])
def test_top5_of_fewer_than_five_classes_is_always_right(num_class: int, rng: np.random.Generator) -> None:
    scores, labels = rng.random((20, num_class)), rng.integers(0, num_class, 20)
    assert topk_accuracy(scores, labels, k=5) == 100.0
    assert top_classes(scores, k=5).shape == (20, num_class)


def test_one_class_is_always_right() -> None:
    assert topk_accuracy(np.ones((3, 1)), np.zeros(3, int)) == 100.0
    assert mean_class_accuracy(np.ones((3, 1)), np.zeros(3, int)) == 100.0


def test_equal_scores_rank_by_class_index() -> None:
    tied = np.zeros((3, 3))
    assert topk_hits(tied, np.array([0, 1, 2])).tolist() == [True, False, False]
    assert topk_hits(tied, np.array([0, 1, 2]), k=2).tolist() == [True, True, False]
    assert top_classes(tied, k=3)[0].tolist() == [0, 1, 2]


@pytest.mark.whole
@given(
    st.integers(1, 12).flatmap(
        lambda k: st.lists(
            st.tuples(st.lists(st.integers(0, 3), min_size=k, max_size=k), st.integers(0, k - 1)), min_size=1
        )
    ),
    st.integers(1, 6),
)
def test_hits_agree_with_the_sorted_classes_even_with_ties(rows: list[tuple[list[int], int]], k: int) -> None:
    scores, labels = np.array([row for row, _ in rows]), np.array([label for _, label in rows])
    expected = (top_classes(scores, k=k) == labels[:, None]).any(axis=1)
    assert topk_hits(scores, labels, k=k).tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_count_as_arrays_do(dtype: torch.dtype) -> None:
    assert topk_accuracy(torch.tensor(SCORES).to(dtype), torch.tensor(LABELS)) == 50.0


def test_videos_without_label_do_not_count() -> None:
    assert topk_accuracy(SCORES, np.array([0, -1, -1, 2])) == 50.0
    assert confusion_matrix(SCORES.argmax(1), np.array([0, -1, -1, 2]), num_class=3).sum() == 2
    assert math.isnan(topk_accuracy(SCORES, np.full(4, -1)))
    assert math.isnan(mean_class_accuracy(SCORES, np.full(4, -1)))
    assert math.isnan(topk_accuracy(np.empty((0, 3)), []))


def test_order_of_the_videos_changes_nothing(rng: np.random.Generator) -> None:
    scores, labels = rng.random((997, 7)), rng.integers(0, 7, 997)
    order = rng.permutation(997)
    assert topk_accuracy(scores, labels) == topk_accuracy(scores[order], labels[order])
    assert mean_class_accuracy(scores, labels) == mean_class_accuracy(scores[order], labels[order])


def test_confusion_has_a_row_per_truth_and_sums_to_the_videos() -> None:
    matrix = confusion_matrix(SCORES.argmax(1), LABELS, num_class=3)
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert accuracy(matrix) == topk_accuracy(SCORES, LABELS)


def test_mean_class_accuracy_skips_classes_without_videos() -> None:
    matrix = np.array([[9, 1, 0], [0, 1, 1], [0, 0, 0]])
    assert mean_over_classes(matrix) == pytest.approx((90 + 50) / 2)
    table = class_accuracy(matrix)
    assert table.accuracy[0] == 90.0
    assert math.isnan(table.accuracy[2]) and math.isnan(table.low[2])
    assert table.predicted.tolist() == [9, 2, 1] and table.precision.tolist() == [100.0, 50.0, 0.0]


def test_wilson_interval_has_the_published_values() -> None:
    # 8 of 10: 49.02 % .. 94.33 %; 0 of 10: 0 % .. 27.75 % (tables of the Wilson score interval, 95 %)
    low, high = wilson_interval([8, 0, 10], [10, 10, 10])
    assert low == pytest.approx([49.0162, 0.0, 72.2467], abs=1e-3)
    assert high == pytest.approx([94.3318, 27.7533, 100.0], abs=1e-3)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_in_range(case: tuple[int, int]) -> None:
    low, high = wilson_interval(*case)
    assert 0 <= low <= 100 * case[0] / case[1] + 1e-9 and 100 * case[0] / case[1] - 1e-9 <= high <= 100


def test_nan_scores_are_one_clear_error() -> None:
    scores = SCORES.copy()
    scores[2, 1] = np.nan
    for count in (topk_accuracy, mean_class_accuracy):
        with pytest.raises(UserError, match=r"1 of 4 videos are NaN \(first: video 2"):
            count(scores, LABELS)


def test_labels_outside_the_classes_are_refused() -> None:
    for label in (3, -2):
        with pytest.raises(UserError, match=f"label {label} is outside the 3 classes"):
            topk_accuracy(SCORES, np.array([0, 1, 2, label]))
    with pytest.raises(UserError, match="predicted class 5 is outside"):
        confusion_matrix([5], [0], num_class=3)
    with pytest.raises(UserError, match="predicted class is -1"):
        confusion_matrix([-1], [0], num_class=3)
