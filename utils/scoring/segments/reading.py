"""Reads what a network says of a whole video: scores of its moments, and segments with scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.segments.finding import find_at_heights
from utils.segments.suppression import suppress_softly
from utils.segments.table import Segments

HEIGHTS = (0.2, 0.4, 0.6)  # at which scores over time are cut into segments
SIGMA = 0.5  # of soft-NMS
LEAST, MOST = 0.01, 1000  # score of an answer, and answers of a video, before soft-NMS

Read = tuple[np.ndarray, Segments]


def read_moments(scores: np.ndarray, times: np.ndarray, *, seconds: float) -> Read:
    """Returns scores of moments as they are, and the segments at several heights, weaker where better ones overlap.

    scores: float32 (T, K + 1) in 0..1; the last class is the background, which has no segments.
    """
    found = find_at_heights(scores, times, HEIGHTS, seconds=seconds, background=scores.shape[1] - 1)
    return scores, suppress_softly(found, sigma=SIGMA)


def read_points(
    points: np.ndarray, times: np.ndarray, *, seconds_at: Callable[[np.ndarray], np.ndarray], num_class: int
) -> Read:
    """Returns the segments that points have found, and from them scores of moments, (T, K + 1).

    The score of a class at a moment is that of its best segment there, and the rest to 1 is left for the background.

    points: float32 (P, K + 2 or more): scores in 0..1, then start and end as places among the windows.
    seconds_at: turns places into seconds.
    Raises: UserError for numbers that are not finite.
    """
    if not np.isfinite(points).all():
        raise UserError("the network's answers about a video are not finite numbers: its training has diverged")
    values = points[:, :num_class]
    rows, labels = np.nonzero(values > LEAST)
    best = np.argsort(-values[rows, labels], kind="stable")[:MOST]
    rows, labels = rows[best], labels[best]
    start, end = (seconds_at(points[rows, num_class + column]) for column in (0, 1))
    table: Any = Segments(np.zeros(len(rows)), start, np.maximum(start, end), labels, values[rows, labels])
    answers = suppress_softly(table.take(table.end > table.start), sigma=SIGMA, lowest=LEAST)
    scores = np.zeros((len(times), num_class + 1), np.float32)
    first, last = np.searchsorted(times, answers.start), np.searchsorted(times, answers.end)
    for row in range(len(answers)):
        inside = scores[first[row] : last[row], answers.label[row]]
        np.maximum(inside, answers.score[row], out=inside)
    scores[:, -1] = 1 - scores[:, :-1].max(1)
    return scores, answers
