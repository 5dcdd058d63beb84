"""Computes how well answers find true segments: average precision per class, and its mean over the classes.

Average precision is the area below the precision-recall curve, made so that precision never rises with recall (PASCAL
VOC 2011), as in the evaluations of ActivityNet and THUMOS. Percentages are 0..100.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.scoring.bootstrap import draws, interval, mean_of_classes
from utils.scoring.segments.matching import NOT_TAKEN
from utils.segments.table import Segments

_CELLS_AT_ONCE = 1 << 24  # answers of a class x samples of videos


@dataclass(frozen=True)
class Detection:
    """Holds average precisions for T thresholds and K classes, with 95 % bootstrap intervals over the videos.

    Percentages; nan for a class without true segments, which is left out of the means.
    """

    precision: np.ndarray  # float64 (T, K), AP
    precision_low: np.ndarray  # float64 (K,), interval of the AP of a class, averaged over the thresholds
    precision_high: np.ndarray
    mean: np.ndarray  # float64 (T,), mAP at each threshold
    low: np.ndarray  # float64 (T,), interval of mAP
    high: np.ndarray
    average: float  # mean of mAP over the thresholds
    average_low: float
    average_high: float


def score_detection(
    answers: Segments, truths: Segments, matched: np.ndarray, *, num_class: int, num_videos: int, seed: int = 0
) -> Detection:
    """Returns average precisions from the matches of `match_by_overlap` or `match_points`, int64 (T, n).

    num_videos: all videos of the evaluation, also those without answers or true segments; the bootstrap draws them.
    """
    counts = np.concatenate([np.ones((num_videos, 1), np.int32), draws(num_videos, seed=seed)], axis=1)
    values = average_precisions(answers, truths, matched, num_class=num_class, counts=counts)  # (1 + R, T, K)
    mean = np.stack([mean_of_classes(values[:, row]) for row in range(values.shape[1])], axis=1)  # (1 + R, T)
    low, high = _centred(mean)
    average_low, average_high = _centred(mean.mean(axis=1))
    class_low, class_high = _centred(values.mean(axis=1))
    return Detection(
        precision=values[0],
        precision_low=class_low,
        precision_high=class_high,
        mean=mean[0],
        low=low,
        high=high,
        average=float(mean[0].mean()),
        average_low=float(average_low),
        average_high=float(average_high),
    )


def _centred(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the interval of the samples (values[1:]), moved so that their median lies on the estimate, values[0].

    The copies of a video that is drawn several times stand next to one another in the ranking, which raises precision
    at some of its steps. So AP is higher on samples than on as many different videos, most where it is low.
    """
    low, high = interval(values[1:])
    middle = np.full(np.shape(low), np.nan)
    if (some := ~np.isnan(low)).any():
        middle[some] = np.nanmedian(values[1:, some] if values.ndim > 1 else values[1:], axis=0)
    shift = values[0] - middle
    return np.clip(low + shift, 0, 100), np.clip(high + shift, 0, 100)


def average_precisions(
    answers: Segments, truths: Segments, matched: np.ndarray, *, num_class: int, counts: np.ndarray
) -> np.ndarray:
    """Returns the AP of every sample of videos, threshold and class, percent, float64 (R, T, K).

    A class without true segments in a sample has nan; one without answers has 0.

    matched: int64 (T, n), rows of true segments, -1 for false answers.
    counts: (videos, R), how often each video is in each sample.
    """
    values = np.full((counts.shape[1], len(matched), num_class), np.nan)
    order = np.lexsort((np.arange(len(answers)), -answers.score, answers.label))
    bounds = np.searchsorted(answers.label[order], np.arange(num_class + 1))
    by_class = np.argsort(truths.label, kind="stable")
    ends = np.searchsorted(truths.label[by_class], np.arange(num_class + 1))
    for label in np.unique(truths.label).tolist():
        rows = order[bounds[label] : bounds[label + 1]]
        own = truths.video[by_class[ends[label] : ends[label + 1]]]
        step = max(1, _CELLS_AT_ONCE // max(1, len(rows)))
        for first in range(0, counts.shape[1], step):
            drawn = counts[:, first : first + step]
            area = _areas(matched[:, rows] != NOT_TAKEN, drawn[answers.video[rows]], drawn[own].sum(axis=0))
            values[first : first + step, :, label] = area.T
    return values


def precision_recall(answers: Segments, right: np.ndarray, truths: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns precision and recall in percent and the score, float64 (h,), at each right answer, the best score first.

    right: bool (n,). truths: the number of true segments that there are; recall is nan without any.
    """
    order = answers.by_score()
    places = np.flatnonzero(right[order])
    found = np.arange(1, len(places) + 1)
    recall = 100 * found / truths if truths else np.full(len(places), np.nan)
    return 100 * found / (places + 1), recall, answers.score[order[places]]


def _areas(right: np.ndarray, weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns the AP in percent, float64 (T, R), from right, bool (T, n), weight, (n, R), and total, (R,).

    An answer with weight w counts as w equal ones in a row. Only right answers raise recall, so only they are steps.
    """
    seen = np.cumsum(weight, axis=0)
    areas = np.zeros((len(right), len(total)))
    for row, hits in enumerate(right):
        steps = np.flatnonzero(hits)
        found, all_so_far = np.cumsum(weight[steps], axis=0), seen[steps]
        share = np.divide(found, all_so_far, out=np.zeros(found.shape), where=all_so_far > 0)
        best_from_here = np.maximum.accumulate(share[::-1], axis=0)[::-1]
        areas[row] = (np.diff(found, axis=0, prepend=0) * best_from_here).sum(axis=0)
    return 100 * np.divide(areas, total, out=np.full(areas.shape, np.nan), where=total > 0)
