"""Two experiments on the same videos of several classes each: which classes are found better, and whether by luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anal_tools.bootstrap import draws, interval, mean_of_classes, precision_of_draws
from anal_tools.compare import paired_rows
from anal_tools.experiment import Experiment
from anal_tools.multi_label import THRESHOLD, scores_of
from utils.scoring.average_precision import average_precision, mean_known

NUM_FLIPS = 100


@dataclass(frozen=True)
class PrecisionComparison:
    """What they say of the videos that both scored with the same truth; percent, differences in percent points.

    Intervals are of the difference, second minus first, by a bootstrap over the videos; nan for a class never shown.
    """

    videos: int
    unpaired: int  # videos of one experiment only, or with another truth
    mean: float  # difference in mAP
    mean_low: float
    mean_high: float
    shown: np.ndarray  # int64 (K,), videos with the class
    before: np.ndarray  # float64 (K,), AP in the first
    after: np.ndarray  # in the second
    low: np.ndarray  # float64 (K,)
    high: np.ndarray
    fixed: int  # answers (a class of a video) that only the second has right
    broken: int
    flips: list[tuple[int, int, int, float, float]]  # rows (first, second), class, both scores; the largest first


def compare_precision(first: Experiment, second: Experiment) -> PrecisionComparison:
    """Pairs the videos by path. Raises: UserError as `paired_rows`, and without scores."""
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
