"""Scores labels over time, one at each moment: F1@k, edit score and accuracy, as MS-TCN defines them.

Lea et al. (2017, CVPR) introduced the scores of whole segments; the definitions are those of MS-TCN (Abu Farha and Gall
2019, CVPR). Time is in frames or in seconds; with frames the numbers are those of its evaluation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.scoring.bootstrap import draws, interval
from utils.segments.overlap import temporal_iou
from utils.segments.table import Segments

OVERLAPS = (0.1, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Timeline:
    """Holds the labels of one video as r runs: each begins where the one before it ends, and has another label.

    edges: float64 (r + 1,), where runs begin and end; the first is 0.
    label: int64 (r,).
    """

    edges: np.ndarray
    label: np.ndarray

    def without(self, background: Collection[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns start, end and label of the runs that are no background."""
        kept = ~np.isin(self.label, list(background))
        return self.edges[:-1][kept], self.edges[1:][kept], self.label[kept]


def timeline_of_frames(labels: Any) -> Timeline:
    """Returns the runs of equal labels of consecutive frames, (T,) integers; edges are numbers of frames."""
    values = np.asarray(labels, np.int64)
    return _merged(np.arange(len(values) + 1, dtype=np.float64), values)


def timeline_of_segments(segments: Segments, *, duration: float, background: int) -> tuple[Timeline, float]:
    """Returns what is shown at each moment of one video, and for how many seconds segments contradict each other.

    At such moments the segment with the highest score counts; among equal ones the one that starts last, then the last
    row. Where there is no segment, there is background. What lies outside of 0 to `duration` is cut off.
    """
    start, end = np.clip(segments.start, 0, duration), np.clip(segments.end, 0, duration)
    edges = np.unique(np.concatenate([[0.0, duration], start, end]))
    worst_first = np.lexsort((np.arange(len(segments)), start, segments.score))
    label, several = np.full(len(edges) - 1, background), np.zeros(len(edges) - 1, bool)
    covered = np.zeros(len(edges) - 1, bool)
    first, last = np.searchsorted(edges, start), np.searchsorted(edges, end)
    for row in worst_first:
        inside = slice(first[row], last[row])
        several[inside] |= covered[inside] & (label[inside] != segments.label[row])
        covered[inside], label[inside] = True, segments.label[row]
    return _merged(edges, label), float(np.diff(edges)[several].sum())


@dataclass(frozen=True)
class TimelineScores:
    """Holds the scores of many videos in percent, each with its 95 % bootstrap interval over the videos.

    A number is (value, low, high); nan where it would be a division by zero.
    """

    f1: dict[float, tuple[float, float, float]]  # by overlap: of all segments of all videos together
    edit: tuple[float, float, float]  # mean over the videos
    accuracy: tuple[float, float, float]  # share of all time
    accuracy_without_background: tuple[float, float, float]  # share of the time whose true label is no background


def score_timelines(
    answers: Sequence[Timeline],
    truths: Sequence[Timeline],
    *,
    background: Collection[int] = (),
    overlaps: Sequence[float] = OVERLAPS,
    seed: int = 0,
) -> TimelineScores:
    """Returns the scores of answers (one per video) against the truths of the same videos.

    background: labels that make no segments.
    Raises: UserError if an answer and its truth have different lengths.
    """
    rows = [_counts(one, other, background, overlaps) for one, other in zip(answers, truths, strict=True)]
    table = np.array(rows, np.float64).reshape(len(rows), 3 * len(overlaps) + 5)
    weights = np.concatenate([np.ones((1, len(rows))), draws(len(rows), seed=seed).T]) if rows else np.ones((1, 0))
    sums = weights @ table  # (1 + R, columns); the first row is the evaluation itself
    f1 = {}
    for place, overlap in enumerate(overlaps):
        right, wrong, missed = sums[:, 3 * place : 3 * place + 3].T
        f1[overlap] = _with_interval(2 * right, 2 * right + wrong + missed)
    edit, right, time, right_shown, time_shown = sums[:, 3 * len(overlaps) :].T
    return TimelineScores(
        f1=f1,
        edit=_with_interval(edit / 100, weights.sum(axis=1)),
        accuracy=_with_interval(right, time),
        accuracy_without_background=_with_interval(right_shown, time_shown),
    )


def edit_score(answer: Timeline, truth: Timeline, *, background: Collection[int] = ()) -> float:
    """Returns how alike the orders of the labels are, 0..100, whatever their lengths; 100 if neither has a segment.

    It is 100 (1 - d / m): d is the Levenshtein distance of the two sequences of labels, m the length of the longer one.
    """
    one, other = answer.without(background)[2], truth.without(background)[2]
    longest = max(len(one), len(other))
    if not longest:
        return 100.0
    places = np.arange(len(other) + 1)
    row = places.astype(np.float64)
    for label in one:
        replaced = row[:-1] + (other != label)
        row = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, replaced)])
        row = np.minimum.accumulate(row - places) + places  # insertions: one more for each step to the right
    return float(100 * (1 - row[-1] / longest))


def segment_counts(
    answer: Timeline, truth: Timeline, overlap: float, *, background: Collection[int] = ()
) -> tuple[int, int, int]:
    """Returns how many segments are right, wrong and missed (tp, fp, fn).

    Answers go in the order of time. Each asks for the true segment of its label with the highest intersection over
    union, the first among equal ones; it is right if that is at least `overlap` and the segment is not taken yet.
    """
    start, end, label = answer.without(background)
    true_start, true_end, true_label = truth.without(background)
    taken = np.zeros(len(true_label), bool)
    if len(true_label):
        iou = temporal_iou(start[:, None], end[:, None], true_start, true_end) * (label[:, None] == true_label)
        for best, value in zip(iou.argmax(axis=1), iou.max(axis=1), strict=True):
            taken[best] |= value >= overlap
    right = int(taken.sum())
    return right, len(label) - right, len(true_label) - right


def _counts(answer: Timeline, truth: Timeline, background: Collection[int], overlaps: Sequence[float]) -> list[float]:
    if answer.edges[-1] != truth.edges[-1]:
        raise UserError(
            f"an answer is {answer.edges[-1]:g} long and its truth {truth.edges[-1]:g}; both need all moments"
        )
    edges = np.union1d(answer.edges, truth.edges)
    place = edges[:-1]
    true_label, said, length = _at(truth, place), _at(answer, place), np.diff(edges)
    right, shown = length * (true_label == said), ~np.isin(true_label, list(background))
    counts = [
        number for overlap in overlaps for number in segment_counts(answer, truth, overlap, background=background)
    ]
    edit = edit_score(answer, truth, background=background)
    return [*counts, edit, right.sum(), length.sum(), right[shown].sum(), length[shown].sum()]


def _at(timeline: Timeline, moments: np.ndarray) -> np.ndarray:
    return timeline.label[np.searchsorted(timeline.edges, moments, side="right") - 1]


def _merged(edges: np.ndarray, label: np.ndarray) -> Timeline:
    """Returns a timeline in which neighbours with the same label are one run."""
    new = np.flatnonzero(np.diff(label, prepend=label[:1] - 1)) if len(label) else np.zeros(0, np.int64)
    return Timeline(np.append(edges[new], edges[-1]), label[new])


def _with_interval(part: np.ndarray, whole: np.ndarray) -> tuple[float, float, float]:
    share = 100 * np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    low, high = interval(share[1:]) if len(share) > 1 else (np.nan, np.nan)
    return float(share[0]), float(low), float(high)
