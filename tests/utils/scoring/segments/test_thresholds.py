"""Thresholds are the best of all that could be chosen."""

from __future__ import annotations

import numpy as np
import pytest

from utils.errors import UserError
from utils.scoring.segments.thresholds import choose_thresholds


def f1_at(score: np.ndarray, right: np.ndarray, total: int, threshold: float) -> float:
    said = score >= threshold
    return float(200 * (said & right).sum() / (said.sum() + total))


def test_no_other_threshold_has_a_higher_f1_and_equal_ones_are_lower(rng: np.random.Generator) -> None:
    score, label, right = rng.random(90).round(1), rng.integers(0, 3, 90), rng.random(90) < 0.4
    total = np.bincount(label[right], minlength=3) + 2
    found = choose_thresholds(score, label, right, total)
    for row in range(3):
        own = label == row
        all_f1 = {value: f1_at(score[own], right[own], total[row], value) for value in np.unique(score[own])}
        assert found.f1[row] == pytest.approx(all_f1[found.value[row]])
        assert found.value[row] == max(value for value, f1 in all_f1.items() if f1 == max(all_f1.values()))


def test_precision_and_recall_counted_by_hand_and_equal_scores_count_together() -> None:
    score, right = [0.9, 0.8, 0.8, 0.3], [True, False, True, True]
    best = choose_thresholds(score, [0] * 4, right, [4])
    assert (best.value[0], best.precision[0], best.recall[0], best.f1[0]) == (0.3, 75, 75, 75)
    precise = choose_thresholds(score, [0] * 4, right, [4], precision=80)
    assert (precise.value[0], precise.precision[0], precise.recall[0]) == (0.9, 100, 25)
    lower = choose_thresholds(score, [0] * 4, right, [4], precision=70)
    assert (lower.value[0], lower.recall[0]) == (0.3, 75)  # 67 % at 0.8, but 75 % again at 0.3
    equal = choose_thresholds([0.9, 0.8, 0.8], [0] * 3, [True, True, False], [2])
    assert (equal.value[0], equal.f1[0]) == (0.8, pytest.approx(80))


def test_classes_that_the_data_cannot_decide_have_no_threshold_and_are_said() -> None:
    found = choose_thresholds([0.9, 0.8], [0, 1], [True, False], [1, 2, 0, 1])
    assert np.isnan(found.value).tolist() == [False, True, True, True]
    assert found.notes(["a", "b", "c", "d"]) == [
        "no threshold for c: nothing to find in the validation data",
        "no threshold for b, d: no answer is right, or none is precise enough",
    ]
    assert choose_thresholds([], [], [], [1]).notes(["a"]) != []


def test_a_score_that_is_nan_and_too_many_right_answers_are_errors() -> None:
    with pytest.raises(UserError, match=r"score 1 .* is not a finite number"):
        choose_thresholds([0.5, np.nan], [0, 0], [True, True], [2])
    with pytest.raises(UserError, match="class 0 has 2 right answers for 1 things to find"):
        choose_thresholds([0.5, 0.4], [0, 0], [True, True], [1])
