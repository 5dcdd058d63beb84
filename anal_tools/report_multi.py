"""What the report says of videos with several classes each: average precision, wrong labels, classes shown together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from anal_tools.bootstrap import draws, interval, mean_of_classes, precision_of_draws
from anal_tools.calibration import reliability
from anal_tools.compare_multi import compare_precision
from anal_tools.experiment import Experiment
from anal_tools.multi_label import NUM_ERRORS, THRESHOLD, known_rows, known_videos, sureness
from anal_tools.page_values import SCORE_UNIT, rounded, score_units
from utils.scoring.average_precision import average_precision
from utils.scoring.metrics import top_classes, wilson_interval
from utils.scoring.task import MULTI_LABEL

THRESHOLDS = np.arange(1, 20) / 20  # that the page lets one choose from; THRESHOLD is one of them
NUM_PAIRS = 1000  # of classes, per table
NUM_TOLD = 20  # answers kept of a video, besides its truth
NUM_BEST = 5  # of them, however low their scores


def numbers(experiment: Experiment) -> dict[str, Any]:
    """All of one experiment that is drawn from its results."""
    return {
        "summary": summary_data(experiment),
        **_videos(experiment),
        "per_class": _per_class(experiment),
        "answers": _answers(experiment),
        "errors": worst_videos(experiment),
        "together": shown_together(experiment),
        "beside": answered_beside(experiment),
        "calibration": _calibration(experiment),
    }


def pictured(experiment: Experiment) -> list[int]:
    """Rows of the videos to be shown by frames, the most wanted first."""
    return worst_videos(experiment)


def comparison(first: Experiment, second: Experiment) -> dict[str, Any]:
    """The second against the first."""
    numbers: dict[str, Any] = rounded(asdict(compare_precision(first, second)))
    return numbers


def summary_data(experiment: Experiment) -> dict[str, Any]:
    """The headline numbers of one experiment; percentages, None where there is none.

    precision, recall: of all answers from THRESHOLD on together (micro). exact: videos whose set is wholly right.
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
    """Rows of the videos with the surest wrong answers, seen or missed, at most NUM_ERRORS."""
    sure = sureness(*known_videos(experiment)).max(axis=1)
    order = np.lexsort((np.arange(len(sure)), -sure))[:NUM_ERRORS]
    rows: list[int] = known_rows(experiment)[order[sure[order] >= 0]].tolist()
    return rows


def shown_together(experiment: Experiment) -> list[list[int]]:
    """[class, class, videos that show both, answers with both, right ones among these], most frequent first."""
    scores, truth = known_videos(experiment)
    answered = scores >= THRESHOLD
    shown, told, right = (_both(rows, rows) for rows in (truth, answered, answered & truth))
    ones, others = np.nonzero(np.triu(shown + told, 1))
    order = np.lexsort((others, ones, -told[ones, others], -shown[ones, others]))[:NUM_PAIRS]
    columns = (ones, others, *(counts[ones, others] for counts in (shown, told, right)))
    rows: list[list[int]] = np.stack(columns, axis=1)[order].tolist()
    return rows


def answered_beside(experiment: Experiment) -> list[list[Any]]:
    """[class shown, class not shown but answered, videos, their share, factor], most frequent first.

    share: percent of the videos that show the one and not the other. factor: this share over the same share of the
    videos that show neither; None where that is 0.
    """
    scores, truth = known_videos(experiment)
    wrong = (scores >= THRESHOLD) & ~truth
    count, places = _both(truth, wrong), _both(truth, ~truth)  # (K, K): the one shown, the other not
    elsewhere = wrong.sum(axis=0) - count
    room = (~truth).sum(axis=0) - places
    ones, others = np.nonzero(count)
    order = np.lexsort((others, ones, -count[ones, others]))[:NUM_PAIRS]
    rows = []
    for one, other in zip(ones[order].tolist(), others[order].tolist(), strict=True):
        share = count[one, other] / places[one, other]
        usual = elsewhere[one, other] / room[one, other] if room[one, other] else 0
        factor = share / usual if usual else None
        rows.append(rounded([one, other, int(count[one, other]), float(100 * share), factor and float(factor)]))
    return rows


def _both(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """int64 (K, K): videos where class i of the one and class j of the other hold; bool (n, K) each."""
    # floats multiply much faster than integers and hold counts below 2**53 exactly
    counts: np.ndarray = (ones.T.astype(np.float64) @ others.astype(np.float64)).astype(np.int64)
    return counts


def _videos(experiment: Experiment) -> dict[str, Any]:
    """Of every video: its true classes, None if unknown, and [class, score, ...] of them and of the best answers."""
    results = experiment.results
    assert results.scores is not None  # known_videos has asked
    best, units = top_classes(results.scores, k=NUM_TOLD), _units(results.scores)
    known = results.task.known(results.labels)
    wrong = ((results.scores >= THRESHOLD) != (results.labels > 0)) & known[:, None]
    truths: list[list[int] | None] = []
    told: list[list[int]] = []
    for row, labels in enumerate(results.labels):
        truth = np.flatnonzero(labels > 0).tolist()
        kept = {one for place, one in enumerate(best[row]) if place < NUM_BEST or results.scores[row, one] >= THRESHOLD}
        classes = sorted(kept | set(truth), key=lambda one: (-units[row, one], one))
        truths.append(truth if known[row] else None)
        told.append([number for one in classes for number in (int(one), int(units[row, one]))])
    return {"truth": truths, "told": told, "wrong": wrong.sum(axis=1).tolist()}


def _units(scores: np.ndarray) -> np.ndarray:
    """`score_units` that stay on their side of THRESHOLD when they are rounded."""
    units, middle = score_units(scores), int(THRESHOLD * SCORE_UNIT)
    sides: np.ndarray = np.where(scores >= THRESHOLD, np.maximum(units, middle), np.minimum(units, middle - 1))
    return sides


def _per_class(experiment: Experiment) -> list[list[Any]]:
    """[videos that show it, AP, low, high, AP of random scores] of every class.

    The interval takes AP for a share of the positives (Boyd et al., 2013, ECML PKDD), after Wilson.
    """
    scores, truth = known_videos(experiment)
    shown, precision = truth.sum(axis=0), average_precision(scores, truth)
    low, high = wilson_interval(precision * shown / 100, shown)
    chance = 100 * shown / len(truth)
    columns = (shown, precision, low, high, chance)
    return [rounded(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _answers(experiment: Experiment) -> dict[str, Any]:
    """How often every class is answered from each of THRESHOLDS on, and how often rightly: [class][threshold]."""
    scores, truth = known_videos(experiment)
    told = [scores >= threshold for threshold in THRESHOLDS.astype(scores.dtype)]
    return {
        "thresholds": rounded(THRESHOLDS),
        "told": np.stack([answered.sum(axis=0) for answered in told], axis=1).tolist(),
        "right": np.stack([(answered & truth).sum(axis=0) for answered in told], axis=1).tolist(),
    }


def _calibration(experiment: Experiment) -> dict[str, Any]:
    """Of all answers together, with their loss and squared error, and of every class."""
    scores, truth = known_videos(experiment)
    nll = MULTI_LABEL.loss(scores, truth)
    brier = float(((scores.astype(np.float64) - truth) ** 2).mean())
    classes = [vars(reliability(scores[:, label], truth[:, label])) for label in range(truth.shape[1])]
    for one in classes:
        del one["edges"]
    pooled = vars(reliability(scores.ravel(), truth.ravel())) | {"nll": nll, "brier": brier}
    data: dict[str, Any] = rounded(pooled | {"classes": classes})
    return data
