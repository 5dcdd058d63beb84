"""Computes how well scores match single labels: top-k and class accuracy, confusion matrix, confidence intervals.

Everything is counted in integers and divided once in float64, so a result depends neither on the order of the videos
nor on the number of processes that scored them. Percentages are 0..100. The running averages of training are in
utils/training/meters.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import UserError

WILSON_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


def topk_accuracy(scores: Any, labels: Any, *, k: int = 1) -> float:
    """Returns the percentage (0..100) of videos whose class is among the k best scores, or nan if no video has a label.

    Among equal scores the lower class index ranks higher, so the result never depends on a sorting routine.

    scores: (N, K), an array or a tensor of logits or probabilities.
    labels: (N,) in [-1, K); videos with -1 (unknown) are left out.
    k: at least 1; a k above the number of classes counts every video as right.
    Raises: UserError when a score is NaN, or a label is outside [-1, K).
    """
    hits = topk_hits(scores, labels, k=k)
    known = _labels(labels) >= 0
    return 100.0 * int(hits.sum()) / int(known.sum()) if known.any() else math.nan


def topk_hits(scores: Any, labels: Any, *, k: int = 1) -> np.ndarray:
    """Returns bool (N,): True where the label is among the k best scores, False where it is not or is unknown (-1).

    Arguments, ties and errors are those of `topk_accuracy`.
    """
    values, truth = as_scores(scores), _labels(labels)
    _check_range(truth, values.shape[1], "label")
    if len(values) != len(truth):
        raise ValueError(f"{len(values)} rows of scores for {len(truth)} labels")
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")
    own = np.take_along_axis(values, np.maximum(truth, 0)[:, None], axis=1)  # (N, 1)
    lower_index = np.arange(values.shape[1])[None, :] < truth[:, None]
    rank = (values > own).sum(axis=1) + ((values == own) & lower_index).sum(axis=1)
    hits: np.ndarray = (truth >= 0) & (rank < k)
    return hits


def top_classes(scores: Any, *, k: int = 5) -> np.ndarray:
    """Returns class indices from the best score down, int64 (N, min(k, K)); ties are in class order."""
    values = as_scores(scores)
    return np.argsort(-values, axis=1, kind="stable")[:, : min(k, values.shape[1])].astype(np.int64)


def confusion_matrix(predicted: Any, labels: Any, *, num_class: int) -> np.ndarray:
    """Counts videos by true class (row) and predicted class (column), int64 (K, K); unknown labels (-1) are left out.

    Raises: UserError when a label or a prediction is outside the classes.
    """
    guess, truth = _labels(predicted), _labels(labels)
    if len(guess) != len(truth):
        raise ValueError(f"{len(guess)} predictions for {len(truth)} labels")
    _check_range(truth, num_class, "label")
    _check_range(guess, num_class, "predicted class")
    known = truth >= 0
    if (guess[known] < 0).any():
        raise UserError("a predicted class is -1; every video needs a prediction: run the evaluation again")
    cells = np.bincount(truth[known] * num_class + guess[known], minlength=num_class * num_class)
    return cells.reshape(num_class, num_class).astype(np.int64)


@dataclass(frozen=True)
class ClassAccuracy:
    """Holds counts and percentages per class, each an array (K,); nan where a class has no video."""

    videos: np.ndarray  # int64, videos of the class
    correct: np.ndarray  # int64
    predicted: np.ndarray  # int64, videos for which the class was predicted, rightly or wrongly
    accuracy: np.ndarray  # float64 0..100: correct / videos, the recall of the class
    precision: np.ndarray  # float64 0..100: correct / predicted
    low: np.ndarray  # float64 0..100, lower end of the accuracy's 95 % Wilson interval
    high: np.ndarray  # its upper end


def class_accuracy(confusion: np.ndarray) -> ClassAccuracy:
    """Returns the accuracy of every class with its 95 % Wilson interval, from the counts of `confusion_matrix`."""
    videos, correct, predicted = confusion.sum(axis=1), np.diagonal(confusion).copy(), confusion.sum(axis=0)
    low, high = wilson_interval(correct, videos)
    return ClassAccuracy(
        videos=videos,
        correct=correct,
        predicted=predicted,
        accuracy=_percent(correct, videos),
        precision=_percent(correct, predicted),
        low=low,
        high=high,
    )


def accuracy(confusion: np.ndarray) -> float:
    """Returns top-1 accuracy (0..100) from the counts of `confusion_matrix`; nan without videos."""
    total = int(confusion.sum())
    return 100.0 * int(np.trace(confusion)) / total if total else math.nan


def mean_class_accuracy(scores: Any, labels: Any) -> float:
    """Returns the mean of the per-class accuracies (0..100) over the classes that have a video; nan without videos.

    Arguments and errors are those of `topk_accuracy`.
    """
    values = as_scores(scores)
    return mean_over_classes(confusion_matrix(values.argmax(axis=1), labels, num_class=values.shape[1]))


def mean_over_classes(confusion: np.ndarray) -> float:
    """Returns mean class accuracy (0..100) from the counts of `confusion_matrix`; nan without videos."""
    videos = confusion.sum(axis=1)
    seen = videos > 0
    if not seen.any():
        return math.nan
    # fsum is exact, so the order of the classes cannot change the result
    return 100.0 * math.fsum(np.diagonal(confusion)[seen] / videos[seen]) / int(seen.sum())


def wilson_interval(correct: Any, videos: Any, *, z: float = WILSON_Z) -> tuple[np.ndarray, np.ndarray]:
    """Returns the score interval of a proportion in percent (Wilson 1927, JASA 22, p. 209-212); nan without videos.

    Unlike the normal interval it stays inside 0..100 and keeps a width at 0 and 100 %.
    """
    hits, total = np.asarray(correct, dtype=np.float64), np.asarray(videos, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / total
        spread = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
        scale = 1 + z * z / total
        centre = share + z * z / (2 * total)
        low, high = (centre - spread) / scale, (centre + spread) / scale
    low, high = np.where(hits == 0, 0.0, low), np.where(hits == total, 1.0, high)  # exact ends, not 1 - 1e-17
    empty = total == 0
    return np.where(empty, np.nan, 100 * low), np.where(empty, np.nan, 100 * high)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, 100.0 * part / whole, np.nan)


def as_scores(scores: Any) -> np.ndarray:
    """Converts scores to float64 (N, K), which holds every float32, float16 and bfloat16 exactly.

    Raises: UserError when a score is NaN; ValueError unless there are two axes and at least one class.
    """
    if hasattr(scores, "detach"):
        scores = scores.detach().cpu().double()
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 1:
        raise ValueError(f"scores have shape {values.shape}; they need (videos, classes)")
    bad = np.flatnonzero(np.isnan(values).any(axis=1))
    if len(bad):
        raise UserError(
            f"the scores of {len(bad)} of {len(values)} videos are NaN (first: video {bad[0]}, counted from 0): the "
            "network has diverged; lower the learning rate or evaluate an earlier checkpoint"
        )
    return values


def _labels(labels: Any) -> np.ndarray:
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu()
    values = np.asarray(labels)
    if values.size == 0:
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"labels have shape {values.shape} and type {values.dtype}; they need (videos,) of integers")
    return values.astype(np.int64)


def _check_range(values: np.ndarray, num_class: int, what: str) -> None:
    wrong = values[(values < -1) | (values >= num_class)]
    if len(wrong):
        raise UserError(f"{what} {wrong[0]} is outside the {num_class} classes 0..{num_class - 1}")
