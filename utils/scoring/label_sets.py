"""Several classes per video: flat arrays however long the list, and the one way a set of classes is written.

In a list and in reference_result.txt a set is `3;7;12`, `-` where a video shows none of the classes, `-1` where nobody
knows. A comma parts columns, so `3,7,12` would be read as three of them; a semicolon can be mistaken for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEPARATOR = ";"
NONE = "-"


@dataclass(frozen=True)
class LabelSets:
    """The classes of n videos, video i having flat[offsets[i]:offsets[i + 1]].

    flat: int32 (m,), from 0; a video whose set is unknown has -1 alone. offsets: int64 (n + 1,). num_class: K.
    """

    flat: np.ndarray
    offsets: np.ndarray
    num_class: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """The multi-hot row of one video, int8 (K,): 1 for its classes, 0 for the others; all -1 if unknown."""
        row, labels = np.zeros(self.num_class, np.int8), self.flat[self.offsets[index] : self.offsets[index + 1]]
        if len(labels) and labels[0] < 0:
            row[:] = -1
        else:
            row[labels] = 1
        return row

    @property
    def known(self) -> np.ndarray:
        """Which videos have a set, be it empty; bool (n,)."""
        known = np.ones(len(self), bool)
        known[np.searchsorted(self.offsets, np.flatnonzero(self.flat < 0), side="right") - 1] = False
        return known

    @property
    def sizes(self) -> np.ndarray:
        """How many classes each video has, int64 (n,)."""
        return np.diff(self.offsets)

    def take(self, videos: np.ndarray) -> LabelSets:
        """The sets of the given videos, which may occur several times."""
        sizes = self.sizes[videos]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[videos] - offsets[:-1], sizes)
        return LabelSets(self.flat[places], offsets, self.num_class)

    def video_of(self, place: int) -> int:
        """The video that flat[place] belongs to."""
        return int(np.searchsorted(self.offsets, place, side="right")) - 1


def label_sets(rows: Iterable[Iterable[int]], num_class: int) -> LabelSets:
    """The same from one collection of classes per video."""
    sets = [list(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in sets], dtype=np.int64)]).astype(np.int64)
    return LabelSets(np.array([label for row in sets for label in row], np.int32), offsets, num_class)


def mirrored(target: Any, table: np.ndarray) -> Any:
    """The target of a mirrored clip: a class (-1: unknown) or a multi-hot row.

    table: int64 (K,), the class of each class's mirror image, which is its own inverse.
    """
    return target[table] if np.ndim(target) else table[target] if target >= 0 else target


def in_text(labels: Iterable[int]) -> str:
    """Classes as a list has them: `3;7;12`, or `-`."""
    return SEPARATOR.join(str(label) for label in labels) or NONE


def from_text(text: str) -> list[int]:
    """The classes of `3;7;12` or `-`. Raises ValueError for anything else."""
    return [] if text == NONE else [int(part) for part in text.split(SEPARATOR)]
