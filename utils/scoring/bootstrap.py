"""Estimates how much average precision varies between samples of videos: the bootstrap over videos."""

from __future__ import annotations

import numpy as np

RESAMPLES = 200
_OUTER = (2.5, 97.5)  # percentiles around 95 %


def draws(videos: int, *, seed: int = 0) -> np.ndarray:
    """Draws RESAMPLES samples with replacement; returns how often each video is in each, int32 (videos, RESAMPLES)."""
    rng = np.random.default_rng(seed)
    samples = [np.bincount(rng.integers(videos, size=videos), minlength=videos) for _ in range(RESAMPLES)]
    return np.ascontiguousarray(np.stack(samples, axis=1).astype(np.int32))


def precision_of_draws(scores: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the AP of every class on each sample, percent, float64 (R, K); nan if no video in it shows the class.

    AP is defined as in utils/scoring/average_precision.py; a video counts as often as it was drawn.

    scores: (N, K).
    truth: bool (N, K).
    counts: (N, R), how often each video is in each sample.
    """
    columns = [_one(scores[:, label], truth[:, label], counts) for label in range(scores.shape[1])]
    return np.stack(columns, axis=1)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % percentile interval over samples (R, ...) (Efron 1979, Ann. Statist. 7); nan if all are nan."""
    some = ~np.isnan(values).all(axis=0)
    bounds = np.full((2, *values.shape[1:]), np.nan)
    if some.any():
        bounds[:, some] = np.nanpercentile(values[:, some], _OUTER, axis=0)
    return bounds[0], bounds[1]


def mean_of_classes(values: np.ndarray) -> np.ndarray:
    """Returns the mAP of every sample, (R, K) -> (R,): the mean over the classes that it shows, nan without any."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _one(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    order = np.argsort(-scores, kind="stable")
    shown = np.flatnonzero(positive[order])  # ranks of the positives, best score first
    if not len(shown):
        return np.full(counts.shape[1], np.nan)
    ranked = scores[order]
    # steps of the curve: each ends with the last video that has the same score as a positive
    ends = np.unique(np.searchsorted(-ranked, -ranked[shown], side="right"))
    starts = np.concatenate([[0], ends[:-1]])
    drawn = np.add.reduceat(counts[order[: ends[-1]]], starts, axis=0).cumsum(
        axis=0
    )  # (steps, R), number of videos so far
    firsts = np.searchsorted(shown, starts)
    right = np.add.reduceat(counts[order[shown]], firsts, axis=0).cumsum(axis=0)
    share = np.divide(right, drawn, out=np.zeros(right.shape), where=drawn > 0)
    total = right[-1]
    area = (np.diff(right, axis=0, prepend=0) * share).sum(axis=0)
    return 100 * np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)
