"""Computes how well scores rank the videos of each class, for videos that show several classes or none.

Everything is counted in integers and divided once in float64, as in metrics.py; percentages are 0..100. The truth is
multi-hot (N, K), 1 or 0; a row of -1 means that the classes of that video are unknown.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from utils.scoring.metrics import as_scores, top_classes


def average_precision(scores: Any, truth: Any) -> np.ndarray:
    """Returns the average precision of every class in percent, float64 (K,); nan for a class that no video shows.

    It is the area under the precision-recall curve as a sum over its steps, sum of (R_n - R_n-1) P_n, without
    interpolation; videos with equal scores form one step. scikit-learn's `average_precision_score` computes the same,
    and PySlowFast uses it for Charades.
    Raises: UserError when a score is NaN.
    """
    known = known_rows(truth)
    values = as_scores(scores)[known]
    shown = _shown(truth)[known]
    return np.array([_class_precision(values[:, label], shown[:, label]) for label in range(values.shape[1])])


def mean_average_precision(scores: Any, truth: Any) -> float:
    """Returns mAP in percent: the mean over the classes that at least one video shows; nan if no video shows any."""
    return mean_known(average_precision(scores, truth))


def mean_known(values: np.ndarray) -> float:
    """Returns the mean of the values that are not nan, independent of their order; nan if all are."""
    known = values[~np.isnan(values)]
    return math.fsum(known) / len(known) if len(known) else math.nan


def hit_rate(scores: Any, truth: Any, *, k: int = 1) -> float:
    """Returns hit@k in percent: the share of videos for which one of the k best classes is right.

    Only videos that show at least one class count; nan without such a video. With one class per video, hit@k is top-k
    accuracy.
    """
    shown = _shown(truth)
    counted = shown.any(axis=1)
    if not counted.any():
        return math.nan
    hits = np.asarray(np.take_along_axis(shown, top_classes(scores, k=k), axis=1).any(axis=1))
    return 100.0 * int(hits[counted].sum()) / int(counted.sum())


def known_rows(truth: Any) -> np.ndarray:
    """Returns bool (N,): True for each video whose classes are known, even if it shows none of them."""
    known: np.ndarray = np.asarray(truth).min(axis=1) >= 0
    return known


def _shown(truth: Any) -> np.ndarray:
    rows: np.ndarray = np.asarray(truth)
    return np.asarray(rows > 0)


def _class_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    total = int(positive.sum())
    if not total:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last of each group of equal scores
    right = np.cumsum(positive[order])[ends]
    return 100.0 * math.fsum(np.diff(right, prepend=0) * (right / (ends + 1))) / total
