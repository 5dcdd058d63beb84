"""Decides what the classes of a network need: the order of frames, motion, or neither, with intervals over videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from utils.scoring.bootstrap import draws, interval
from utils.scoring.metrics import wilson_interval

AS_IT_IS, SINGLE, BACKGROUND, SWAPPED = "as it is", "single frames", "background alone", "other background"
ORDER = ("shuffled", "reversed")  # conditions that leave all frames, in another order
MARGIN = 20.0  # percent of a class's videos; what costs surely less than this is not needed
NEEDS_ORDER, NEEDS_MOTION, NEEDS_NEITHER = "needs order", "needs motion", "needs neither"
UNCLEAR, NOT_RECOGNISED = "cannot tell", "not recognised"
VERDICTS = (NEEDS_ORDER, NEEDS_MOTION, NEEDS_NEITHER, UNCLEAR, NOT_RECOGNISED)


@dataclass(frozen=True)
class Range:
    """Holds a share of videos in percent, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassNeeds:
    """Holds what was found out about a class.

    label: its number. videos: how many of it were scored.
    right: how many of them are recognised as they are.
    lost: by condition, how many fewer are recognised under it; of a condition that is not possible for every video,
        among those for which it is.
    verdict: one of VERDICTS.
    still: whether it is recognised by what stands still alone.
    follows: how many are taken for the class whose background they were put in front of; None if none could be.
    """

    label: int
    videos: int
    right: Range
    verdict: str
    still: bool
    follows: Range | None
    lost: dict[str, Range] = field(default_factory=dict)


def needs_of_classes(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], lent: np.ndarray, *, num_class: int
) -> list[ClassNeeds]:
    """Returns what each class that has videos needs.

    labels: int64 (N,). predicted: by condition, AS_IT_IS among them, the class that was answered, int64 (N,); -1 where
        a condition is not possible. lent: the class whose background a video was put in front of, int64 (N,); -1 for
        none.
    """
    return [
        _needs(label, labels == label, predicted, lent, chance=100 / num_class)
        for label in range(num_class)
        if (labels == label).any()
    ]


def _needs(
    label: int, rows: np.ndarray, predicted: Mapping[str, np.ndarray], lent: np.ndarray, *, chance: float
) -> ClassNeeds:
    hits = predicted[AS_IT_IS][rows] == label
    videos = len(hits)
    low, high = (float(end) for end in wilson_interval(int(hits.sum()), videos))
    right = Range(100.0 * float(hits.mean()), low, high)
    lost = {
        name: _mean(hits[known].astype(float) - (found[known] == label), seed=label)
        for name, answers in predicted.items()
        if name != AS_IT_IS and (known := (found := answers[rows]) >= 0).any()
    }
    known = lent[rows] >= 0
    follows = None
    if known.any():
        taken = predicted[SWAPPED][rows][known] == lent[rows][known]
        ends = (float(end) for end in wilson_interval(int(taken.sum()), int(known.sum())))
        follows = Range(100.0 * float(taken.mean()), *ends)
    still = right.low > chance and BACKGROUND in lost and lost[BACKGROUND].high < MARGIN
    return ClassNeeds(label, videos, right, _verdict(right, lost, chance), still, follows, lost)


def _verdict(right: Range, lost: Mapping[str, Range], chance: float) -> str:
    if right.low <= chance:  # perhaps by chance alone
        return UNCLEAR if right.value > chance else NOT_RECOGNISED
    if any(lost[name].low > 0 for name in ORDER):
        return NEEDS_ORDER
    if lost[SINGLE].low > 0:
        return NEEDS_MOTION
    return NEEDS_NEITHER if max(lost[name].high for name in (*ORDER, SINGLE)) < MARGIN else UNCLEAR


def _mean(values: np.ndarray, *, seed: int) -> Range:
    """Returns the mean of values in -1..1, in percent, with its bootstrap interval over videos.

    Where all videos say the same, drawing them again says nothing: as many as 3 / n of others may still be otherwise
    (Hanley and Lippman-Hand 1983, JAMA 249). So many may be lost, too, where none of these was.
    """
    count, mean = len(values), float(values.mean())
    if values.min() == values.max():
        low, high = mean - 3 / count, mean + 3 / count
    else:
        ends = interval((draws(count, seed=seed).T @ values)[:, None] / count)
        low, high = (float(end[0]) for end in ends)
    if values.max() <= 0:
        high = max(high, 3 / count)
    return Range(100 * mean, 100 * max(low, -1.0), 100 * min(high, 1.0))
