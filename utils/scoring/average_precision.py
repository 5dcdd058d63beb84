"""How well scores rank the videos of each class, for videos that show several classes or none.

Counted in integers and divided once in float64, as in metrics.py; percentages are 0..100. Truth is multi-hot (N, K), 1
or 0, and a row of -1 where it is unknown.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from utils.scoring.metrics import as_scores, top_classes


def average_precision(scores: Any, truth: Any) -> np.ndarray:
    """AP of every class in percent, float64 (K,); nan for a class that no video shows.

    The area under the precision-recall curve as a sum over its steps, sum of (R_n - R_n-1) P_n, without interpolation,
    videos of equal score being one step: scikit-learn's `average_precision_score`, which PySlowFast takes for Charades.
    Raises: UserError when a score is NaN.
    """
    known = known_rows(truth)
    values = as_scores(scores)[known]
    shown = _shown(truth)[known]
    return np.array([_one(values[:, label], shown[:, label]) for label in range(values.shape[1])])


def mean_average_precision(scores: Any, truth: Any) -> float:
    """mAP: the mean over the classes that some video shows, each counting alike (macro); nan when there is none."""
    return mean_known(average_precision(scores, truth))


def mean_known(values: np.ndarray) -> float:
    """The mean of those that are not nan, whatever their order; nan when there is none."""
    known = values[~np.isnan(values)]
    return math.fsum(known) / len(known) if len(known) else math.nan


def hit_rate(scores: Any, truth: Any, *, k: int = 1) -> float:
    """Hit@k: percentage of the videos that show a class for which one of the k best scores is right; nan without any.

    With one class per video it is top-k accuracy.
    """
    shown = _shown(truth)
    some = shown.any(axis=1)
    if not some.any():
        return math.nan
    hits = np.asarray(np.take_along_axis(shown, top_classes(scores, k=k), axis=1).any(axis=1))
    return 100.0 * int(hits[some].sum()) / int(some.sum())


def known_rows(truth: Any) -> np.ndarray:
    """Which videos have a truth, be it the empty set; bool (N,)."""
    known: np.ndarray = np.asarray(truth).min(axis=1) >= 0
    return known


def _shown(truth: Any) -> np.ndarray:
    rows: np.ndarray = np.asarray(truth)
    return np.asarray(rows > 0)


def _one(scores: np.ndarray, positive: np.ndarray) -> float:
    total = int(positive.sum())
    if not total:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last of each group of equal scores
    right = np.cumsum(positive[order])[ends]
    return 100.0 * math.fsum(np.diff(right, prepend=0) * (right / (ends + 1))) / total
