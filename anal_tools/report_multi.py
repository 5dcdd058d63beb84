"""Computes the numbers in the report of a multi-label experiment."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from anal_tools.calibration import reliability
from anal_tools.compare_multi import compare_precision
from anal_tools.experiment import Experiment
from anal_tools.multi_label import NUM_ERRORS, THRESHOLD, error_confidence, known_rows, known_videos
from anal_tools.page_values import SCORE_UNIT, rounded, score_units
from utils.scoring.average_precision import average_precision
from utils.scoring.bootstrap import draws, interval, mean_of_classes, precision_of_draws
from utils.scoring.metrics import top_classes, wilson_interval
from utils.scoring.task import MULTI_LABEL

THRESHOLDS = np.arange(1, 20) / 20  # choices of the slider on the page; THRESHOLD is one of them
NUM_PAIRS = 1000  # pairs of classes per table
NUM_LISTED = 20  # classes listed for a video at most, besides the true ones
NUM_BEST = 5  # classes listed for a video however low their scores are


def numbers(experiment: Experiment) -> dict[str, Any]:
    """Returns everything about one experiment that depends on its results."""
    return {
        "summary": summary_data(experiment),
        **_videos(experiment),
        "per_class": _per_class(experiment),
        "answers": _answers(experiment),
        "errors": worst_videos(experiment),
        "together": shown_together(experiment),
        "false_with": falsely_predicted_with(experiment),
        "calibration": _calibration(experiment),
    }


def pictured(experiment: Experiment) -> list[int]:
    """Returns the rows of the videos whose frames are shown, the most important first."""
    return worst_videos(experiment)


def comparison(first: Experiment, second: Experiment) -> dict[str, Any]:
    """Compares the second experiment with the first."""
    numbers: dict[str, Any] = rounded(asdict(compare_precision(first, second)))
    return numbers


def summary_data(experiment: Experiment) -> dict[str, Any]:
    """Returns the main numbers of one experiment; percentages are None if they would be a division by zero.

    precision, recall: micro-averaged over all answers with a score of at least THRESHOLD.
    exact: share of videos for which exactly the true classes are predicted.
    """
    scores, truth = known_videos(experiment)
    answered = scores >= THRESHOLD
    right = int((answered & truth).sum())
    low, high = interval(mean_of_classes(precision_of_draws(scores, truth, draws(len(truth)))))
    found = {
        "videos": len(truth),
        "unlabelled": len(experiment.results) - len(truth),
        "seen": int(truth.any(axis=0).sum()),
        "labels": int(truth.sum()),
        "none": int((~truth.any(axis=1)).sum()),
        **MULTI_LABEL.measure(scores, truth),
        "low": low,
        "high": high,
        "precision": 100 * right / int(answered.sum()) if answered.any() else None,
        "recall": 100 * right / int(truth.sum()) if truth.any() else None,
        "exact": 100 * int((answered == truth).all(axis=1).sum()) / len(truth),
    }
    plain: dict[str, Any] = rounded(found, digits=10)
    return plain


def worst_videos(experiment: Experiment) -> list[int]:
    """Returns the rows of the videos with the most confident wrong answers, at most NUM_ERRORS."""
    confidence = error_confidence(*known_videos(experiment)).max(axis=1)
    order = np.lexsort((np.arange(len(confidence)), -confidence))[:NUM_ERRORS]
    rows: list[int] = known_rows(experiment)[order[confidence[order] >= 0]].tolist()
    return rows


def shown_together(experiment: Experiment) -> list[list[int]]:
    """Returns pairs of classes that are shown or predicted together, the most frequent first.

    A row is [class, class, videos that show both, videos with both predicted, those of them that show both].
    """
    scores, truth = known_videos(experiment)
    answered = scores >= THRESHOLD
    shown, predicted, right = (_both(rows, rows) for rows in (truth, answered, answered & truth))
    ones, others = np.nonzero(np.triu(shown + predicted, 1))
    order = np.lexsort((others, ones, -predicted[ones, others], -shown[ones, others]))[:NUM_PAIRS]
    columns = (ones, others, *(counts[ones, others] for counts in (shown, predicted, right)))
    rows: list[list[int]] = np.stack(columns, axis=1)[order].tolist()
    return rows


def falsely_predicted_with(experiment: Experiment) -> list[list[Any]]:
    """Returns which class is wrongly predicted for videos that show another one, the most frequent pairs first.

    A row is [class shown, class predicted but not shown, videos, share, factor].

    share: percentage of the videos that show the first class but not the second.
    factor: this share divided by the share of wrong predictions among the videos that show neither; None if that is 0.
    """
    scores, truth = known_videos(experiment)
    wrong = (scores >= THRESHOLD) & ~truth
    count, possible = _both(truth, wrong), _both(truth, ~truth)  # (K, K): class i is shown, class j is not
    count_elsewhere = wrong.sum(axis=0) - count
    possible_elsewhere = (~truth).sum(axis=0) - possible
    ones, others = np.nonzero(count)
    order = np.lexsort((others, ones, -count[ones, others]))[:NUM_PAIRS]
    rows = []
    for one, other in zip(ones[order].tolist(), others[order].tolist(), strict=True):
        share = count[one, other] / possible[one, other]
        videos = possible_elsewhere[one, other]
        usual = count_elsewhere[one, other] / videos if videos else 0
        factor = share / usual if usual else None
        rows.append(rounded([one, other, int(count[one, other]), float(100 * share), factor and float(factor)]))
    return rows


def _both(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Counts the videos for which ones[:, i] and others[:, j] are true, int64 (K, K); both are bool (n, K)."""
    # floats multiply much faster than integers and represent counts below 2**53 exactly
    counts: np.ndarray = (ones.T.astype(np.float64) @ others.astype(np.float64)).astype(np.int64)
    return counts


def _videos(experiment: Experiment) -> dict[str, Any]:
    """Returns the true classes of every video (None if unknown) and its listed classes with their scores.

    Listed are the true classes, the NUM_BEST best ones, and up to NUM_LISTED predicted ones, as [class, score, ...].
    """
    results = experiment.results
    assert results.scores is not None  # known_videos raises an error without scores
    best, units = top_classes(results.scores, k=NUM_LISTED), _units(results.scores)
    known = results.task.known(results.labels)
    wrong = ((results.scores >= THRESHOLD) != (results.labels > 0)) & known[:, None]
    truths: list[list[int] | None] = []
    listed: list[list[int]] = []
    for row, labels in enumerate(results.labels):
        truth = np.flatnonzero(labels > 0).tolist()
        kept = {one for place, one in enumerate(best[row]) if place < NUM_BEST or results.scores[row, one] >= THRESHOLD}
        classes = sorted(kept | set(truth), key=lambda one: (-units[row, one], one))
        truths.append(truth if known[row] else None)
        listed.append([number for one in classes for number in (int(one), int(units[row, one]))])
    return {"truth": truths, "listed": listed, "wrong": wrong.sum(axis=1).tolist()}


def _units(scores: np.ndarray) -> np.ndarray:
    """Returns `score_units`, rounded so that no score crosses THRESHOLD."""
    units, middle = score_units(scores), int(THRESHOLD * SCORE_UNIT)
    sides: np.ndarray = np.where(scores >= THRESHOLD, np.maximum(units, middle), np.minimum(units, middle - 1))
    return sides


def _per_class(experiment: Experiment) -> list[list[Any]]:
    """Returns [videos that show it, AP, low, high, AP of random scores] for every class.

    The interval treats AP as a share of the positives (Boyd et al. 2013, ECML PKDD), in Wilson's form.
    """
    scores, truth = known_videos(experiment)
    shown, precision = truth.sum(axis=0), average_precision(scores, truth)
    low, high = wilson_interval(precision * shown / 100, shown)
    chance = 100 * shown / len(truth)
    columns = (shown, precision, low, high, chance)
    return [rounded(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _answers(experiment: Experiment) -> dict[str, Any]:
    """Counts how often each class is predicted at each of THRESHOLDS, and how often rightly: [class][threshold]."""
    scores, truth = known_videos(experiment)
    predicted = [scores >= threshold for threshold in THRESHOLDS.astype(scores.dtype)]
    return {
        "thresholds": rounded(THRESHOLDS),
        "predicted": np.stack([one.sum(axis=0) for one in predicted], axis=1).tolist(),
        "right": np.stack([(one & truth).sum(axis=0) for one in predicted], axis=1).tolist(),
    }


def _calibration(experiment: Experiment) -> dict[str, Any]:
    """Returns the calibration of all answers together, with their loss and squared error, and of every class."""
    scores, truth = known_videos(experiment)
    nll = MULTI_LABEL.loss(scores, truth)
    brier = float(((scores.astype(np.float64) - truth) ** 2).mean())
    classes = [vars(reliability(scores[:, label], truth[:, label])) for label in range(truth.shape[1])]
    for one in classes:
        del one["edges"]
    pooled = vars(reliability(scores.ravel(), truth.ravel())) | {"nll": nll, "brier": brier}
    data: dict[str, Any] = rounded(pooled | {"classes": classes})
    return data
