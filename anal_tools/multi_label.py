"""Analyses multi-label experiments for analyze.py: how well each class is found, and which answers are most wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anal_tools.class_plot import draw_classes
from anal_tools.experiment import Experiment
from anal_tools.tables import percent, write_csv, write_lines
from utils.errors import UserError
from utils.scoring.average_precision import average_precision, mean_known
from utils.scoring.result_files import AGAIN, SCORES

NUM_ERRORS = 100
THRESHOLD = 0.5  # a class with at least this score counts as predicted


def summary(experiment: Experiment) -> list[str]:
    """Returns the numbers as lines of text."""
    scores, truth = known_videos(experiment)
    results, shown = experiment.results, truth.sum(axis=0)
    videos, unknown = len(truth), len(results) - len(truth)
    classes = f"{int((shown > 0).sum())} of {truth.shape[1]} classes"
    lines = [
        f"{experiment.folder}: {videos} videos show {classes}, {truth.sum() / videos:.2f} each, "
        f"{int((truth.sum(axis=1) == 0).sum())} show no class"
        + (f", {unknown} more without a label" if unknown else "")
        + (f" ({results.protocol})" if results.protocol else "")
    ]
    titles = results.task.val_numbers
    for name, number in results.task.measure(scores, truth).items():
        lines.append(f"{titles[name]:<6} {number:6.2f} %" + (f"  mean over {classes}" if name == "mAP" else ""))
    return lines


def write(experiment: Experiment, folder: Path) -> list[Path]:
    """Writes the three files into `folder` and returns their paths."""
    scores, truth = known_videos(experiment)
    precision, chance = average_precision(scores, truth), 100.0 * truth.mean(axis=0)
    paths = [folder / name for name in ("per_class.png", "per_class.csv", "top100_errors.txt")]
    title = f"{experiment.name}: mAP {mean_known(precision):.2f} % of {len(truth)} videos"
    draw_classes(paths[0], precision, chance, experiment.class_names, title=title)
    write_csv(paths[1], *per_class_table(experiment))
    write_lines(paths[2], top_errors(experiment))
    return paths


def per_class_table(experiment: Experiment) -> tuple[list[str], list[list[Any]]]:
    """Returns the header and one row per class.

    chance: the AP of random scores, which is the share of videos that show the class.
    predicted, precision, recall: those of the answers with a score of at least THRESHOLD.

    A percentage is empty if it would be a division by zero.
    """
    scores, truth = known_videos(experiment)
    answered = scores >= THRESHOLD
    shown, predicted, right = truth.sum(axis=0), answered.sum(axis=0), (answered & truth).sum(axis=0)
    precision = average_precision(scores, truth)
    header = ["index", "class", "videos", "average_precision", "chance", "predicted", "precision", "recall"]
    rows: list[list[Any]] = []
    for index, name in enumerate(experiment.class_names):
        counts = int(shown[index]), int(predicted[index]), int(right[index])
        rows.append(
            [index, name, counts[0], percent(precision[index]), percent(100 * counts[0] / len(truth)), counts[1]]
            + [percent(100 * counts[2] / whole) if whole else "" for whole in (counts[1], counts[0])]
        )
    return header, rows


def top_errors(experiment: Experiment) -> list[str]:
    """Returns the tab-separated lines of top100_errors.txt: the most confident wrong answers.

    Each is about one class of one video. error: `seen` if the video does not show the class but its score is high,
    `missed` if it shows the class but the score is low.
    """
    scores, truth = known_videos(experiment)
    names = [" ".join(name.split()) for name in experiment.class_names]
    confidence = error_confidence(scores, truth)
    order = np.lexsort((np.arange(confidence.size), -confidence.ravel()))[:NUM_ERRORS]
    paths = [experiment.results.paths[row] for row in known_rows(experiment)]
    lines = ["\t".join(["error", "class", "score", "truth", "video"])]
    for row, label in zip(*np.unravel_index(order, truth.shape), strict=True):
        kind = "missed" if truth[row, label] else "seen"
        classes = "; ".join(names[one] for one in np.flatnonzero(truth[row])) or "-"
        if confidence[row, label] >= 0:
            lines.append(f"{kind}\t{names[label]}\t{scores[row, label]:.4f}\t{classes}\t{paths[row]}")
    return lines


def error_confidence(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns how confident each wrong answer is, float32 (n, K) in 0..1, and -1 for right answers.

    It is the score of a class that is not shown, and 1 - score of a class that is.

    scores: float32 (n, K).
    truth: bool (n, K).
    """
    confidence: np.ndarray = np.where((scores >= THRESHOLD) != truth, np.where(truth, 1 - scores, scores), -1)
    return confidence


def known_videos(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores, float32 (n, K), and truth, bool (n, K), of all labelled videos. Raises: as `scores_of`."""
    rows = known_rows(experiment)
    return scores_of(experiment)[rows], experiment.results.labels[rows] > 0


def scores_of(experiment: Experiment) -> np.ndarray:
    """Returns the scores of all videos, float32 (N, K). Raises: UserError if the results have none."""
    if experiment.results.scores is None:
        raise UserError(f"{experiment.folder}: no {SCORES}, which is needed to rank the videos of a class: {AGAIN}")
    return experiment.results.scores


def known_rows(experiment: Experiment) -> np.ndarray:
    """Returns the rows of the labelled videos in the results, int64 (n,)."""
    return np.flatnonzero(experiment.results.task.known(experiment.results.labels))
