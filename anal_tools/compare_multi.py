"""Compares two multi-label experiments on the same videos: which classes are found better, and whether by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anal_tools.compare import paired_rows
from anal_tools.experiment import Experiment
from anal_tools.multi_label import THRESHOLD, scores_of
from utils.scoring.average_precision import average_precision, mean_known
from utils.scoring.bootstrap import draws, interval, mean_of_classes, precision_of_draws

NUM_FLIPS = 100


@dataclass(frozen=True)
class PrecisionComparison:
    """Compares the average precision on all videos that both experiments scored with the same truth.

    Differences are second minus first, in percentage points; their intervals are 95 % bootstrap intervals over the
    videos. An answer is what an experiment says about one class of one video.

    videos: number of videos compared.
    unpaired: number of videos that only one experiment scored, or with another truth.
    mean, mean_low, mean_high: difference in mAP and its interval.
    shown: number of videos that show each class, int64 (K,).
    before, after: AP of each class in the first and the second, percent, float64 (K,), nan for a class never shown.
    low, high: interval of the difference in AP, float64 (K,).
    fixed, broken: number of answers that only the second, or only the first, has right.
    flips: fixed and broken answers as (row in first, row in second, class, score in first, score in second), the
        largest change of score first.
    """

    videos: int
    unpaired: int
    mean: float
    mean_low: float
    mean_high: float
    shown: np.ndarray
    before: np.ndarray
    after: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fixed: int
    broken: int
    flips: list[tuple[int, int, int, float, float]]


def compare_precision(first: Experiment, second: Experiment) -> PrecisionComparison:
    """Pairs the videos by path and compares the AP. Raises: UserError as `paired_rows` does, and without scores."""
    rows = np.array(paired_rows(first, second))
    one, two = scores_of(first)[rows[:, 0]], scores_of(second)[rows[:, 1]]
    truth = first.results.labels[rows[:, 0]] > 0
    counts = draws(len(rows))
    ours, theirs = precision_of_draws(one, truth, counts), precision_of_draws(two, truth, counts)
    low, high = interval(theirs - ours)
    mean_low, mean_high = interval(mean_of_classes(theirs) - mean_of_classes(ours))
    before, after = average_precision(one, truth), average_precision(two, truth)
    fixed = ((one >= THRESHOLD) != truth) & ((two >= THRESHOLD) == truth)
    broken = ((one >= THRESHOLD) == truth) & ((two >= THRESHOLD) != truth)
    places, labels = np.nonzero(fixed | broken)
    order = np.lexsort((np.arange(len(places)), -np.abs(one - two)[places, labels]))[:NUM_FLIPS]
    flips = [
        (*rows[place].tolist(), label, float(one[place, label]), float(two[place, label]))
        for place, label in zip(places[order].tolist(), labels[order].tolist(), strict=True)
    ]
    return PrecisionComparison(
        videos=len(rows),
        unpaired=len(first.results) + len(second.results) - 2 * len(rows),
        mean=mean_known(after) - mean_known(before),
        mean_low=float(mean_low),
        mean_high=float(mean_high),
        shown=truth.sum(axis=0),
        before=before,
        after=after,
        low=low,
        high=high,
        fixed=int(fixed.sum()),
        broken=int(broken.sum()),
        flips=flips,
    )
