"""Calibration counts every labelled video once and is zero where scores tell the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anal_tools.calibration import NUM_BINS, calibrate


def test_scores_that_tell_the_truth_are_calibrated(rng: np.random.Generator) -> None:
    top = rng.uniform(0.3, 1, 200_000)
    labels = np.where(rng.random(200_000) < top, 0, 1)
    found = calibrate(labels, np.zeros(200_000, int), top, None)
    assert found.ece < 0.5 and found.videos.sum() == 200_000
    assert math.isnan(found.nll) and math.isnan(found.brier)


def test_values_counted_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], np.float32)
    found = calibrate(np.array([0, 1, 1, -1]), scores.argmax(1), scores.max(1).astype(float), scores)
    assert found.videos.sum() == 3
    assert found.ece == pytest.approx((2 * 40 + 40) / 3, abs=1e-4)  # bins 0.9 (50 % right) and 0.6 (100 %)
    assert found.worst == pytest.approx(40, abs=1e-4)
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.6)) / 3, abs=1e-6)
    assert found.brier == pytest.approx((0.02 + 1.62 + 0.32) / 3, abs=1e-6)


def test_scores_of_0_and_1_fall_into_the_outer_bins() -> None:
    found = calibrate(np.array([0, 0]), np.array([0, 0]), np.array([0.0, 1.0]), None)
    assert found.videos[0] == 1 and found.videos[NUM_BINS - 1] == 1


def test_no_video_is_no_error() -> None:
    found = calibrate(np.array([-1]), np.array([0]), np.array([0.5]), None)
    assert math.isnan(found.ece) and math.isnan(found.worst)
