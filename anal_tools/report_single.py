"""Computes the numbers in the report of a single-label experiment."""

from __future__ import annotations

from typing import Any

import numpy as np

from anal_tools.calibration import calibrate
from anal_tools.compare import compare
from anal_tools.confusions import confused_pairs
from anal_tools.experiment import Experiment
from anal_tools.page_values import rounded, score_units
from utils.scoring.metrics import (
    accuracy,
    class_accuracy,
    mean_over_classes,
    top_classes,
    topk_accuracy,
    wilson_interval,
)

NUM_ERRORS = 100
RIGHT_CLASSES = 50  # of these many classes at most, right answers are shown


def numbers(experiment: Experiment) -> dict[str, Any]:
    """Returns everything about one experiment that depends on its results."""
    results = experiment.results
    classes, units = _top_scores(experiment)
    return {
        "summary": summary_data(experiment),
        "truth": results.labels.tolist(),
        "top": classes.ravel().tolist(),  # (N, k) flattened, best first
        "score": units.ravel().tolist(),
        "k": classes.shape[1],
        "per_class": _per_class(experiment),
        "pairs": [[pair.truth, pair.predicted, pair.count, round(pair.share, 4)] for pair in _pairs(experiment)],
        "errors": worst_errors(experiment),
        "right": right_answers(experiment),
        "calibration": rounded(vars(calibrate(results.labels, results.predicted, results.top_scores, results.scores))),
    }


def pictured(experiment: Experiment) -> list[int]:
    """Returns the rows of the videos whose frames are shown, the most important first: errors, right, confused."""
    confused = [int(pair.videos[0]) for pair in _pairs(experiment)[:NUM_ERRORS]]
    return worst_errors(experiment) + right_answers(experiment) + confused


def comparison(first: Experiment, second: Experiment) -> dict[str, Any]:
    """Compares the second experiment with the first."""
    result = compare(first, second)
    words = {"videos": result.videos, "verdict": result.verdict}
    return words | {name: rounded(value, digits=10) for name, value in vars(result).items()}


def summary_data(experiment: Experiment) -> dict[str, Any]:
    """Returns the main numbers of one experiment; a percentage that is not known is None."""
    confusion, results = experiment.confusion, experiment.results
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    low, high = wilson_interval(correct, total)
    top5 = None if results.scores is None else topk_accuracy(results.scores, results.labels, k=5)
    return {
        "videos": total,
        "unlabelled": len(results) - total,
        "correct": correct,
        "top1": accuracy(confusion),
        "low": float(low),
        "high": float(high),
        "top5": top5,
        "mean_class": mean_over_classes(confusion),
        "seen": int((confusion.sum(axis=1) > 0).sum()),
    }


def worst_errors(experiment: Experiment) -> list[int]:
    """Returns the rows of the wrong answers with the highest scores, at most NUM_ERRORS."""
    results = experiment.results
    wrong = np.flatnonzero((results.labels >= 0) & (results.labels != results.predicted))
    order = np.lexsort((wrong, -results.top_scores[wrong]))
    rows: list[int] = wrong[order][:NUM_ERRORS].tolist()
    return rows


def right_answers(experiment: Experiment) -> list[int]:
    """Returns the rows of the surest and the least sure right answer of each class, the least sure ones first."""
    results = experiment.results
    right = np.flatnonzero((results.labels >= 0) & (results.labels == results.predicted))
    ordered = right[np.lexsort((right, results.top_scores[right]))]
    classes = np.unique(results.labels[right])[:RIGHT_CLASSES]
    of_class = [ordered[results.labels[ordered] == index] for index in classes]
    least = sorted((rows[0] for rows in of_class), key=lambda row: results.top_scores[row])
    surest = [rows[-1] for rows in of_class if len(rows) > 1]
    return [int(row) for row in [*least, *surest]]


def _pairs(experiment: Experiment) -> list[Any]:
    results = experiment.results
    return confused_pairs(results.predicted, results.labels, results.top_scores)


def _top_scores(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Returns the five best classes of each video and their scores (in units), int64 (N, k); k is 1 without scores."""
    results = experiment.results
    if results.scores is None:
        classes, scores = results.predicted[:, None], results.top_scores[:, None]
    else:
        classes = top_classes(results.scores, k=5)
        scores = np.take_along_axis(results.scores, classes, axis=1)
    return classes, score_units(scores)


def _per_class(experiment: Experiment) -> list[list[Any]]:
    table = class_accuracy(experiment.confusion)
    columns = (table.videos, table.correct, table.predicted, table.accuracy, table.low, table.high, table.precision)
    return [rounded(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
