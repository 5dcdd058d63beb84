"""Whether a score of 80 % is right in 80 % of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from utils.scoring.metrics import wilson_interval

NUM_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal width by their score; arrays of shape (NUM_BINS,), nan where empty."""

    edges: np.ndarray  # float64 (NUM_BINS + 1,), 0..1
    videos: np.ndarray  # int64
    score: np.ndarray  # mean score, percent
    accuracy: np.ndarray  # percent
    low: np.ndarray  # 95 % Wilson interval of the accuracy
    high: np.ndarray
    ece: float  # expected calibration error in percent points, weighted by videos
    worst: float  # largest gap of a bin


@dataclass(frozen=True)
class Calibration(Reliability):
    """The same with numbers that look at every class of a video."""

    nll: float  # mean negative log-likelihood; nan when only the best score is known
    brier: float  # mean squared error over the classes; nan likewise


def reliability(scores: np.ndarray, right: np.ndarray) -> Reliability:
    """Bins answers (n,) by their score in 0..1 (Guo et al. 2017, arXiv 1706.04599, sec. 2: 15 bins, (low, high])."""
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
    """The labelled videos by the score of their answer."""
    known = labels >= 0
    labels = labels[known]
    nll = brier = math.nan
    if scores is not None and len(labels):
        values = scores[known].astype(np.float64)
        own = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
        nll = float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())
        brier = float(((values**2).sum(axis=1) - 2 * own + 1).mean())
    return Calibration(**vars(reliability(top_scores[known], predicted[known] == labels)), nll=nll, brier=brier)
