"""Measures calibration: whether answers with a score of 80 % are right in 80 % of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from utils.scoring.metrics import wilson_interval

NUM_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Holds answers in bins of equal width by their score; arrays have shape (NUM_BINS,) and nan for an empty bin.

    edges: borders of the bins, float64 (NUM_BINS + 1,), 0..1.
    videos: number of answers, int64.
    score: mean score, percent.
    accuracy: share of right answers, percent.
    low, high: 95 % Wilson interval of the accuracy.
    ece: expected calibration error, the mean gap between score and accuracy over the answers, in percentage points.
    worst: largest gap of a bin, in percentage points.
    """

    edges: np.ndarray
    videos: np.ndarray
    score: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ece: float
    worst: float


@dataclass(frozen=True)
class Calibration(Reliability):
    """Adds two numbers that depend on the scores of all classes; both are nan if only the best score is known.

    nll: mean negative log-likelihood.
    brier: squared error, summed over the classes and averaged over the videos.
    """

    nll: float
    brier: float


def reliability(scores: np.ndarray, right: np.ndarray) -> Reliability:
    """Bins answers (n,) by their score, 0..1, into 15 bins (low, high] (Guo et al. 2017, arXiv 1706.04599, sec. 2)."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    values = scores.astype(np.float64)
    place = np.clip(np.digitize(values, edges, right=True) - 1, 0, NUM_BINS - 1)
    videos = np.bincount(place, minlength=NUM_BINS)
    hits = np.bincount(place, weights=right, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        score = 100 * np.bincount(place, weights=values, minlength=NUM_BINS) / videos
        accuracy = 100 * hits / videos
    low, high = wilson_interval(hits, videos)
    gaps = np.abs(accuracy - score)[videos > 0]
    return Reliability(
        edges=edges,
        videos=videos,
        score=score,
        accuracy=accuracy,
        low=low,
        high=high,
        ece=float((gaps * videos[videos > 0]).sum() / videos.sum()) if len(gaps) else math.nan,
        worst=float(gaps.max()) if len(gaps) else math.nan,
    )


def calibrate(
    labels: np.ndarray, predicted: np.ndarray, top_scores: np.ndarray, scores: np.ndarray | None
) -> Calibration:
    """Measures the calibration of the answers to all labelled videos (single label).

    labels, predicted: int (N,), label -1 if unknown.
    top_scores: float (N,), score of the answer.
    scores: float (N, K), or None if only top_scores is known.
    """
    known = labels >= 0
    labels = labels[known]
    nll = brier = math.nan
    if scores is not None and len(labels):
        values = scores[known].astype(np.float64)
        own = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
        nll = float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())
        brier = float(((values**2).sum(axis=1) - 2 * own + 1).mean())
    return Calibration(**vars(reliability(top_scores[known], predicted[known] == labels)), nll=nll, brier=brier)
