"""Computes what a report shows of a list of spans: timelines of truth and prediction, numbers by class and video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anal_tools.experiment import Experiment
from anal_tools.multi_label import THRESHOLD, scores_of
from anal_tools.page_values import rounded
from datasets.lists.spans import NamedSpan, read_mark
from utils.scoring.task import MULTI_LABEL

MOST_VIDEOS = 300  # that have a timeline
RIGHT, WRONG, UNKNOWN = 0, 1, 2  # kinds of predictions, as report_page/spans.js names them


def span_data(experiment: Experiment) -> dict[str, Any] | None:
    """Returns everything about the spans of an experiment as plain values for JSON; None if its list has none.

    A video is [path, numbers], the worst first, a class its numbers, see `_numbers`. A timeline is of the video at this
    place, in the form of report_page/timelines.js.

    Raises: UserError for several classes without scores.
    """
    marks = [read_mark(path) for path in experiment.results.paths]
    rows = [row for row, mark in enumerate(marks) if mark is not None]
    if not rows:
        return None
    spans = [mark for mark in marks if mark is not None]
    places: dict[str, int] = {}
    video = np.array([places.setdefault(span.path, len(places)) for span in spans])
    length = np.array([span.end - span.start for span in spans])
    truth, answered, scores = (values[rows] for values in _sets(experiment))
    known = experiment.results.task.known(experiment.results.labels)[rows]
    found, false = truth & answered, answered & ~truth & known[:, None]
    errors = np.bincount(video, (truth & ~found).sum(1) + false.sum(1), minlength=len(places))
    order = np.argsort(-errors, kind="stable")
    paths = list(places)
    members = [np.flatnonzero(video == place) for place in order]
    timelines = [
        _timeline(spans, own, place, truth, answered, scores, known) for place, own in enumerate(members[:MOST_VIDEOS])
    ]
    data = {
        "in_frames": spans[0].in_frames,
        "whole": len(marks) - len(rows),
        "timelines": timelines,
        "videos": [
            [paths[place], _numbers(truth[own], found[own], false[own], length[own])]
            for place, own in zip(order, members, strict=True)
        ],
        "classes": [
            _numbers(truth[:, label], found[:, label], false[:, label], length) for label in range(truth.shape[1])
        ],
    }
    plain: dict[str, Any] = rounded(data)
    return plain


def _sets(experiment: Experiment) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns which classes are true, which are predicted, both bool (N, K), and their scores, float32 (N, K).

    With one class per video, the predicted one is that with the best score.
    """
    results, classes = experiment.results, np.arange(len(experiment.class_names))
    if results.task is MULTI_LABEL:
        scores = scores_of(experiment)
        return results.labels > 0, scores >= THRESHOLD, scores
    answered = results.predicted[:, None] == classes
    return results.labels[:, None] == classes, answered, answered * results.top_scores[:, None].astype(np.float32)


def _numbers(truth: np.ndarray, found: np.ndarray, false: np.ndarray, length: np.ndarray) -> dict[str, Any]:
    """Returns counts and lengths of spans, of one class (n,) or of the classes of one video (n, K), both bool.

    true, found, false: numbers of spans and of predictions that are not true. share: percent of the true ones found.
    length, length_share: the same by the time that spans take. median_found, median_missed: of these lengths.
    """
    of_span = length if truth.ndim == 1 else np.broadcast_to(length[:, None], truth.shape)
    whole, hit = float(of_span[truth].sum()), float(of_span[found].sum())
    count = int(truth.sum())
    missed = truth & ~found
    return {
        "true": count,
        "found": int(found.sum()),
        "false": int(false.sum()),
        "share": 100 * int(found.sum()) / count if count else None,
        "length": whole,
        "length_share": 100 * hit / whole if whole else None,
        "median_found": float(np.median(of_span[found])) if found.any() else None,
        "median_missed": float(np.median(of_span[missed])) if missed.any() else None,
    }


def _timeline(
    spans: Sequence[NamedSpan],
    own: np.ndarray,
    place: int,
    truth: np.ndarray,
    answered: np.ndarray,
    scores: np.ndarray,
    known: np.ndarray,
) -> dict[str, Any]:
    """Returns the true and the predicted classes of the spans of one video over time."""
    truths: list[list[Any]] = []
    answers: list[list[Any]] = []
    for row in sorted(own.tolist(), key=lambda row: spans[row][1:3]):
        start, end = spans[row].start, spans[row].end
        for label in np.flatnonzero(truth[row]).tolist():
            truths.append([start, end, label, float(scores[row, label]) if answered[row, label] else None])
        for label in np.flatnonzero(answered[row]).tolist():
            kind = UNKNOWN if not known[row] else RIGHT if truth[row, label] else WRONG
            answers.append([start, end, label, float(scores[row, label]), kind])
    return {"video": place, "truths": truths, "answers": answers, "left_out": 0}
