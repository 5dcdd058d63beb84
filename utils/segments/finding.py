"""Turns scores over time into segments: smoothed, cut at two thresholds, and not too short.

The scores of a multi-label network and those of a softmax with a background class are treated alike: each class is cut
on its own, and the background gives no segments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.segments.table import Segments, joined


def find_segments(
    scores: Any,
    times: Any,
    *,
    high: Any,
    low: Any = None,
    smoothing: float = 0.0,
    min_length: float = 0.0,
    background: int | None = None,
    video: int = 0,
) -> Segments:
    """Returns the segments of one video, by class and then by time; the score of a segment is its mean over time.

    A segment is a longest stretch of moments with scores of at least `low`, of which one reaches `high` (hysteresis).
    It goes halfway to the moments before and after it; at both ends of the video, it goes half a step further.

    scores: (T, K), finite, higher is surer.
    times: (T,), the middle of each moment in seconds, rising.
    high: one threshold, or (K,); a class with nan gives no segments.
    low: the same, at most `high`; by default it is `high`.
    smoothing: standard deviation in seconds of a Gaussian that averages the scores first.
    min_length: shorter segments, in seconds, are left out.
    background: index of a class that gives no segments.
    Raises: UserError for scores that are not finite, times that do not rise, seconds below 0 or not finite, a
        background that is no class; ValueError for shapes that do not fit.
    """
    values, moments = _checked(scores, times)
    _check_seconds("a smallest length of", min_length)
    if background is not None and not 0 <= background < values.shape[1]:
        raise UserError(f"background {background}: there are classes 0 to {values.shape[1] - 1}")
    upper = np.broadcast_to(np.asarray(high, np.float64), values.shape[1:])
    lower = upper if low is None else np.broadcast_to(np.asarray(low, np.float64), values.shape[1:])
    if (lower > upper).any():
        row = int((lower > upper).argmax())
        raise UserError(f"the low threshold {lower[row]:g} is above the high one {upper[row]:g}")
    values, edges = smooth(values, moments, seconds=smoothing), _edges(moments)
    parts = []
    for label in range(values.shape[1]):
        if label == background:
            continue
        first, last = _stretches(values[:, label], low=lower[label], high=upper[label])
        length = edges[last] - edges[first]
        # over the moments of each stretch and of the gap behind it; every second sum is that of a stretch
        bounds = np.stack([first, last], axis=1).ravel()
        total = np.add.reduceat(np.append(values[:, label] * np.diff(edges), 0), bounds)[::2] if len(first) else length
        part = Segments(
            np.full(len(first), video), edges[first], edges[last], np.full(len(first), label), total / length
        )
        parts.append(part.take(length >= min_length))
    return joined(parts)


def find_at_heights(
    scores: Any, times: Any, heights: Sequence[float], *, seconds: float, low: Any = None, background: int | None = None
) -> Segments:
    """Returns the segments of one video at several heights of `high`, without repeats; see `find_segments`.

    Each moment belongs to the window whose middle is nearest, so the first window counts from the start of the video
    on, and the last to its end.

    seconds: length of the video.
    """
    moments = np.asarray(times, np.float64)
    found = joined(find_segments(scores, moments, high=height, low=low, background=background) for height in heights)
    start = np.where(found.start < moments[0], 0.0, found.start)
    end = np.where(found.end > moments[-1], seconds, found.end)
    _, first = np.unique(np.stack([found.label, start, end]), axis=1, return_index=True)  # two heights may agree
    return Segments(found.video, start, end, found.label, found.score).take(np.sort(first))


def smooth(scores: Any, times: Any, *, seconds: float) -> np.ndarray:
    """Returns scores (T, K) averaged over time by a Gaussian with that standard deviation, float64; 0 changes nothing.

    The weights of each moment add up to 1, also at the ends of the video and where steps are uneven.
    """
    values, moments = _checked(scores, times)
    _check_seconds("smoothing over", seconds)
    if not seconds or len(values) < 2:
        return values
    far = np.searchsorted(moments, moments + 3 * seconds, side="right") - np.arange(len(moments))
    length = np.diff(_edges(moments))
    total, weights = values * length[:, None], length.copy()
    for step in range(1, int(far.max())):
        near = np.exp(-0.5 * ((moments[step:] - moments[:-step]) / seconds) ** 2)
        before, after = near * length[:-step], near * length[step:]
        total[step:] += before[:, None] * values[:-step]
        total[:-step] += after[:, None] * values[step:]
        weights[step:] += before
        weights[:-step] += after
    return total / weights[:, None]


def _check_seconds(what: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise UserError(f"{what} {seconds:g} seconds: it must be 0 or more, and finite")


def _stretches(scores: np.ndarray, *, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first moment of each stretch and the one behind its last, int64; comparisons with nan are false."""
    inside = np.concatenate([[False], scores >= low, [False]])
    first, last = np.flatnonzero(inside[1:] & ~inside[:-1]), np.flatnonzero(inside[:-1] & ~inside[1:])
    if not len(first):
        return first, last
    bounds = np.stack([first, last], axis=1).ravel()
    best = np.maximum.reduceat(np.append(scores, -np.inf), bounds)[::2]
    return first[best >= high], last[best >= high]


def _edges(times: np.ndarray) -> np.ndarray:
    """Returns where the moments meet, (T + 1,); a single moment has a length of one second."""
    if len(times) < 2:
        return np.concatenate([times - 0.5, times[-1:] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])


def _checked(scores: Any, times: Any) -> tuple[np.ndarray, np.ndarray]:
    values, moments = np.asarray(scores, np.float64), np.asarray(times, np.float64)
    if values.ndim != 2 or moments.shape != values.shape[:1]:
        raise ValueError(f"scores {values.shape} and times {moments.shape}; they need (T, K) and (T,)")
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).any(axis=1).argmax())
        raise UserError(f"the scores at {moments[row]:g} s are not finite numbers: the network has diverged")
    if not np.isfinite(moments).all() or (np.diff(moments) <= 0).any():
        raise UserError("the times of the scores do not rise; each moment must be later than the one before it")
    return values, moments
