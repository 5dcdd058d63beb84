"""The bootstrap of average precision is that of utils/scoring/average_precision.py on videos drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from utils.scoring.average_precision import average_precision
from utils.scoring.bootstrap import RESAMPLES, draws, interval, mean_of_classes, precision_of_draws


def test_a_video_drawn_twice_counts_twice_and_one_left_out_not_at_all(rng: np.random.Generator) -> None:
    scores, truth = np.round(rng.random((40, 5)), 1), rng.random((40, 5)) < 0.3  # rounded: many scores are equal
    truth[:, 4] = False
    counts = draws(40)
    found = precision_of_draws(scores, truth, counts)
    for sample in (0, 7, RESAMPLES - 1):
        rows = np.repeat(np.arange(40), counts[:, sample])
        assert len(rows) == 40
        assert found[sample] == pytest.approx(average_precision(scores[rows], truth[rows]), nan_ok=True)
    once = precision_of_draws(scores, truth, np.ones((40, 1), np.int32))
    assert once[0] == pytest.approx(average_precision(scores, truth), nan_ok=True)


def test_a_class_that_a_sample_does_not_show_is_left_out_of_its_mean() -> None:
    scores, truth = np.array([[0.9, 0.2], [0.1, 0.8]]), np.eye(2, dtype=bool)
    found = precision_of_draws(scores, truth, np.array([[2, 0], [0, 0]], np.int32))
    assert found[0] == pytest.approx([100, np.nan], nan_ok=True) and np.isnan(found[1]).all()
    assert mean_of_classes(found) == pytest.approx([100, np.nan], nan_ok=True)


def test_intervals_hold_the_middle_95_percent_and_are_the_same_each_time(rng: np.random.Generator) -> None:
    values = np.arange(1001, dtype=float)[rng.permutation(1001), None] * np.array([1, np.nan])
    low, high = interval(values)
    assert (low[0], high[0]) == (25, 975) and np.isnan(low[1]) and np.isnan(high[1])
    assert np.array_equal(draws(9), draws(9)) and (draws(9).sum(axis=0) == 9).all()
