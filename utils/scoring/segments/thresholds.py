"""Chooses from which score on answers count, for each class, on validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import UserError


@dataclass(frozen=True)
class Thresholds:
    """Holds the chosen threshold of each of K classes and what it gives on the data that it was chosen on.

    value: float64 (K,), the smallest score that counts; nan where the data cannot tell.
    precision, recall, f1: float64 (K,), percent; nan with `value`.
    truths: int64 (K,), the number of things to find.
    """

    value: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    truths: np.ndarray

    def notes(self, class_names: Sequence[str]) -> list[str]:
        """Returns a line about the classes without a threshold for each reason."""
        none = np.isnan(self.value)
        reasons = {
            "nothing to find in the validation data": none & (self.truths == 0),
            "no answer is right, or none is precise enough": none & (self.truths > 0),
        }
        return [
            f"no threshold for {', '.join(name for name, one in zip(class_names, rows, strict=True) if one)}: {why}"
            for why, rows in reasons.items()
            if rows.any()
        ]


def choose_thresholds(score: Any, label: Any, right: Any, truths: Any, *, precision: float | None = None) -> Thresholds:
    """Returns the threshold of each class with the highest F1, or the lowest one that is precise enough.

    The n answers may be segments, each right if it has found a true one, or moments of a video, each right if its class
    is shown there. Among equal F1 the highest threshold is chosen. Answers with equal scores count together.

    score: (n,), finite.
    label: int (n,), class of each answer.
    right: bool (n,).
    truths: int (K,), how many right answers there could be.
    precision: percent, in place of the best F1: of the thresholds with at least this precision, the lowest one, which
        has the highest recall.
    Raises: UserError for a score that is not finite, or more right answers of a class than truths.
    """
    values, labels, hits = np.asarray(score, np.float64), np.asarray(label, np.int64), np.asarray(right, bool)
    total = np.asarray(truths, np.int64)
    if not np.isfinite(values).all():
        raise UserError(f"score {int((~np.isfinite(values)).argmax())} (counted from 0) is not a finite number")
    found = np.bincount(labels[hits], minlength=len(total))
    if (found > total).any():
        row = int((found > total).argmax())
        raise UserError(f"class {row} has {found[row]} right answers for {total[row]} things to find")
    order = np.lexsort((-values, labels))
    bounds = np.searchsorted(labels[order], np.arange(len(total) + 1))
    rows = [
        _choose(values[part], hits[part], int(total[row]), precision)
        for row, part in enumerate(np.split(order, bounds[1:-1]))
    ]
    value, precise, recall, f1 = np.array(rows, np.float64).reshape(len(rows), 4).T
    return Thresholds(value, precise, recall, f1, total)


def _choose(score: np.ndarray, right: np.ndarray, total: int, precision: float | None) -> tuple[float, ...]:
    """Returns the threshold of one class, its precision, recall and F1. score: the best first."""
    if not right.any():
        return (math.nan,) * 4
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))  # the last of each group of equal scores
    found, counted = np.cumsum(right)[ends], ends + 1
    precise, recall, f1 = 100 * found / counted, 100 * found / total, 200 * found / (counted + total)
    enough = np.flatnonzero((precise >= precision) & (found > 0)) if precision is not None else [int(f1.argmax())]
    if not len(enough):
        return (math.nan,) * 4
    best = int(enough[-1])
    return float(score[ends[best]]), float(precise[best]), float(recall[best]), float(f1[best])
