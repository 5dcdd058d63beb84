"""Average precision: counted by hand, scikit-learn's own example, and what cannot change it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from utils.errors import UserError
from utils.scoring.average_precision import average_precision, hit_rate, mean_average_precision


def one(scores: list[float], shown: list[int]) -> float:
    return float(average_precision(np.array(scores)[:, None], np.array(shown)[:, None])[0])


@pytest.mark.parametrize(
    ("scores", "shown", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 1 / 2 + 1 / 2 * 2 / 3),  # scikit-learn documents 0.83
        ([0.9, 0.8, 0.7, 0.6], [0, 1, 0, 1], 1 / 2 * 1 / 2 + 1 / 2 * 2 / 4),
        ([0.5, 0.5, 0.1], [1, 0, 1], 1 / 2 * 1 / 2 + 1 / 2 * 2 / 3),  # two equal scores are one step
        ([0.5, 0.5, 0.1], [0, 1, 1], 1 / 2 * 1 / 2 + 1 / 2 * 2 / 3),  # whichever of them comes first
        ([0.3, 0.3, 0.3, 0.3], [1, 0, 0, 0], 1 / 4),  # no ranking at all is the share of the class
        ([0.2, 0.9], [1, 1], 1.0),
    ],
)
def test_average_precision_counted_by_hand(scores: list[float], shown: list[int], expected: float) -> None:
    assert one(scores, shown) == pytest.approx(100 * expected, abs=1e-12)


def test_map_is_the_mean_over_the_classes_that_are_shown() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.6], [0.7, 0.9, 0.1]])
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    values = average_precision(scores, truth)
    assert values[0] == 100 and values[1] == 50 and math.isnan(values[2])
    assert mean_average_precision(scores, truth) == 75
    assert math.isnan(mean_average_precision(scores, np.zeros((3, 3))))


def test_order_of_videos_and_a_rising_function_of_the_scores_change_nothing(rng: np.random.Generator) -> None:
    scores, truth = rng.random((50, 4)).round(1), rng.random((50, 4)) < 0.3  # rounded: many are equal
    expected = average_precision(scores, truth)
    order = rng.permutation(50)
    np.testing.assert_array_equal(average_precision(scores[order], truth[order]), expected)
    np.testing.assert_array_equal(average_precision(np.exp(3 * scores), truth), expected)


def test_videos_without_a_truth_are_left_out_and_those_that_show_nothing_count() -> None:
    scores = np.array([[0.9], [0.8], [0.7]])
    assert average_precision(scores, np.array([[0], [1], [-1]]))[0] == 50
    assert average_precision(scores, np.array([[-1], [1], [0]]))[0] == 100


def test_hit_rate_asks_the_videos_that_show_something_for_one_right_class() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.1, 0.9, 0.5], [0.9, 0.2, 0.1], [0.9, 0.1, 0.1]])
    truth = np.array([[0, 1, 1], [0, 1, 0], [0, 0, 0], [-1, -1, -1]])
    assert hit_rate(scores, truth) == 50 and hit_rate(scores, truth, k=2) == 100
    assert math.isnan(hit_rate(scores[2:], truth[2:]))


def test_a_score_that_is_nan_is_an_error() -> None:
    with pytest.raises(UserError, match="NaN"):
        average_precision(np.array([[np.nan]]), np.array([[1]]))
