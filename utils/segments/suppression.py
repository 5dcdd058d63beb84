"""Removes answers that repeat a better one, or lowers their scores: non-maximum suppression over time.

Only segments of one video and one class are compared. Among equal scores, the earlier row goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from utils.segments.overlap import temporal_iou
from utils.segments.table import Segments


def suppress(segments: Segments, *, iou: float) -> Segments:
    """Returns the segments without those that overlap a kept one with a higher score by more than `iou` (0..1)."""
    kept = np.ones(len(segments), bool)
    for rows in _groups(segments):
        waiting = rows
        while len(waiting) > 1:
            others = waiting[1:]
            too_close = _overlap(segments, waiting[0], others) > iou
            kept[others[too_close]] = False
            waiting = others[~too_close]
    return segments.take(kept)


def suppress_softly(
    segments: Segments,
    *,
    kind: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.3,
    lowest: float = 0.001,
) -> Segments:
    """Returns the segments with lower scores where they overlap better ones (Soft-NMS, Bodla et al. 2017, ICCV).

    The best segment keeps its score, and every other one is multiplied by a factor of its overlap with it; then the
    best one of the rest, and so on.

    kind: the factor is exp(-overlap^2 / sigma), or 1 - overlap where the overlap is above `iou`.
    lowest: segments whose score falls below it are left out; those that were below it from the start, too.
    """
    score = segments.score.copy()
    for rows in _groups(segments):
        waiting = rows
        while len(waiting) > 1:
            best = waiting[score[waiting].argmax()]
            waiting = waiting[waiting != best]
            overlap = _overlap(segments, best, waiting)
            if kind == "gaussian":
                score[waiting] *= np.exp(-(overlap**2) / sigma)
            else:
                score[waiting] *= np.where(overlap > iou, 1 - overlap, 1)
            waiting = waiting[score[waiting] >= lowest]
    return segments.with_scores(score).take(score >= lowest)


def _overlap(segments: Segments, one: int, others: np.ndarray) -> np.ndarray:
    start, end = segments.start, segments.end
    return temporal_iou(start[one], end[one], start[others], end[others])


def _groups(segments: Segments) -> Iterator[np.ndarray]:
    """Yields the rows of each class in each video, best score first."""
    if not len(segments):
        return
    order = np.lexsort((np.arange(len(segments)), -segments.score, segments.label, segments.video))
    new = (np.diff(segments.video[order]) != 0) | (np.diff(segments.label[order]) != 0)
    yield from np.split(order, np.flatnonzero(new) + 1)
