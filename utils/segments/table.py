"""Holds segments of many videos as arrays: true ones, or answers with scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import UserError

_KINDS = {"video": np.int64, "start": np.float64, "end": np.float64, "label": np.int64, "score": np.float64}


@dataclass(frozen=True, eq=False)
class Segments:
    """Holds n segments; row i of every array belongs to segment i. `end` is exclusive.

    video: int64 (n,), index of the video, from 0.
    start, end: float64 (n,), seconds. A segment without length is allowed; it overlaps nothing.
    label: int64 (n,), index of the class, from 0.
    score: float64 (n,), higher is surer; true segments have 1.

    Raises: UserError for a number that is not finite, an end before its start, or an index below 0; ValueError for
    arrays of different lengths.
    """

    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __init__(self, video: Any, start: Any, end: Any, label: Any, score: Any = None) -> None:
        given = (video, start, end, label, np.ones(len(start)) if score is None else score)
        for (name, kind), values in zip(_KINDS.items(), given, strict=True):
            object.__setattr__(self, name, np.asarray(values, dtype=kind).reshape(-1))
        if len({len(getattr(self, name)) for name in _KINDS}) != 1:
            raise ValueError(f"arrays of different lengths: { {name: len(getattr(self, name)) for name in _KINDS} }")
        for name in ("start", "end", "score"):
            self._refuse(~np.isfinite(getattr(self, name)), f"its {name} is not a finite number")
        self._refuse(self.end < self.start, "it ends before it starts")
        self._refuse((self.video < 0) | (self.label < 0), "its video or its label is below 0")

    def __len__(self) -> int:
        return len(self.video)

    def take(self, rows: Any) -> Segments:
        """Returns the segments that `rows` selects: indices, or bool (n,)."""
        return Segments(*(getattr(self, name)[rows] for name in _KINDS))

    def with_scores(self, score: np.ndarray) -> Segments:
        """Returns the same segments with other scores, float64 (n,)."""
        return Segments(self.video, self.start, self.end, self.label, score)

    def by_score(self) -> np.ndarray:
        """Returns the rows from the highest score to the lowest, int64 (n,); among equal scores, in their order."""
        return np.argsort(-self.score, kind="stable")

    def _refuse(self, wrong: np.ndarray, why: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"segment {row} (counted from 0, {int(wrong.sum())} such) from {self.start[row]:g} to "
                f"{self.end[row]:g} s of video {self.video[row]}: {why}"
            )


def joined(parts: Iterable[Segments]) -> Segments:
    """Returns the segments of all parts in one table, in their order."""
    tables = list(parts)
    if not tables:
        return Segments([], [], [], [])
    return Segments(*(np.concatenate([getattr(part, name) for part in tables]) for name in _KINDS))
