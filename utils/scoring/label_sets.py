"""Label sets: the classes of videos that show several of them, as flat arrays and as text.

In a list file and in reference_result.txt a set is written `3;7;12`; `-` is the empty set, and `-1` means that the
classes of the video are unknown. The separator is a semicolon because a comma separates the columns of a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEPARATOR = ";"
NONE = "-"
_ENDS_IN_NUMBERS = re.compile(r"\s\d+$")  # as in mmaction2's lists, where spaces separate classes


@dataclass(frozen=True)
class LabelSets:
    """Holds the classes of n videos; those of video i are flat[offsets[i]:offsets[i + 1]].

    flat: int32 (m,), 0-based classes; a video whose set is unknown has a single -1.
    offsets: int64 (n + 1,).
    num_class: K.
    """

    flat: np.ndarray
    offsets: np.ndarray
    num_class: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns the multi-hot row of one video, int8 (K,): 1 for its classes, 0 for the others; all -1 if unknown."""
        row, labels = np.zeros(self.num_class, np.int8), self.flat[self.offsets[index] : self.offsets[index + 1]]
        if len(labels) and labels[0] < 0:
            row[:] = -1
        else:
            row[labels] = 1
        return row

    @property
    def known(self) -> np.ndarray:
        """A mask of the videos whose set is known, even if it is empty; bool (n,)."""
        known = np.ones(len(self), bool)
        known[np.searchsorted(self.offsets, np.flatnonzero(self.flat < 0), side="right") - 1] = False
        return known

    @property
    def sizes(self) -> np.ndarray:
        """The number of classes of each video, int64 (n,)."""
        return np.diff(self.offsets)

    def take(self, videos: np.ndarray) -> LabelSets:
        """Returns the sets of the given videos; a video may be given several times."""
        sizes = self.sizes[videos]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[videos] - offsets[:-1], sizes)
        return LabelSets(self.flat[places], offsets, self.num_class)

    def video_of(self, place: int) -> int:
        """Returns the index of the video that flat[place] belongs to."""
        return int(np.searchsorted(self.offsets, place, side="right")) - 1


def label_sets(rows: Iterable[Iterable[int]], num_class: int) -> LabelSets:
    """Builds LabelSets from one collection of classes per video."""
    sets = [list(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in sets], dtype=np.int64)]).astype(np.int64)
    return LabelSets(np.array([label for row in sets for label in row], np.int32), offsets, num_class)


def mirrored(target: Any, table: np.ndarray) -> Any:
    """Returns the target of a clip after a horizontal flip.

    target: a class (-1: unknown) or a multi-hot row (K,).
    table: int64 (K,), the class that each class becomes when mirrored; the table is its own inverse.
    """
    return target[table] if np.ndim(target) else table[target] if target >= 0 else target


def spaces_hint(path: str) -> str:
    """Returns what to do if the numbers at the end of a path were meant as classes; "" for a path without any there."""
    return "; if the numbers behind its name are classes, write them as 3;7;12" if _ENDS_IN_NUMBERS.search(path) else ""


def numbers_hint(path: str) -> str:
    """Returns what other lists have more numbers, for a path that is not there; "" for one without any at its end."""
    if not _ENDS_IN_NUMBERS.search(path):
        return ""
    return (
        "; if the numbers behind its name are no part of it: lists of `path offset frames label` need "
        "data.with_offset, and several classes are written as 3;7;12, with multi_label"
    )


def labels_to_text(labels: Iterable[int]) -> str:
    """Writes classes as list files have them: `3;7;12`, or `-` for the empty set."""
    return SEPARATOR.join(str(label) for label in labels) or NONE


def labels_from_text(text: str) -> list[int]:
    """Reads classes from `3;7;12` or `-`. Raises ValueError for any other text."""
    return [] if text == NONE else [int(part) for part in text.split(SEPARATOR)]
