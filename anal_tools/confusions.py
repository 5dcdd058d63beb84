"""Finds the most frequent confusions of classes, and reads pairs of classes whose confusion is forgiven."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError

_SEPARATORS = ("\t", "->", ",", ";")


@dataclass(frozen=True)
class Pair:
    """Holds all videos of one class for which one other class was predicted.

    truth, predicted: the two classes.
    count: number of videos.
    share: percentage of all errors.
    videos: rows of the results, int64 (count,), the highest score first.
    """

    truth: int
    predicted: int
    count: int
    share: float
    videos: np.ndarray


def confused_pairs(
    predicted: np.ndarray, labels: np.ndarray, top_scores: np.ndarray, *, limit: int | None = None
) -> list[Pair]:
    """Returns the confusions, the most frequent first, and equally frequent ones in the order of their classes."""
    wrong = np.flatnonzero((labels >= 0) & (predicted != labels))
    order = wrong[np.lexsort((wrong, -top_scores[wrong], predicted[wrong], labels[wrong]))]
    keys = np.stack([labels[order], predicted[order]], axis=1)
    starts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=-2) != 0, axis=1)) if len(order) else np.empty(0, int)
    groups = np.split(order, starts[1:]) if len(order) else []
    groups.sort(key=lambda rows: (-len(rows), labels[rows[0]], predicted[rows[0]]))
    return [
        Pair(int(labels[rows[0]]), int(predicted[rows[0]]), len(rows), 100.0 * len(rows) / len(wrong), rows)
        for rows in groups[:limit]
    ]


def forgiven_count(confusion: np.ndarray, pairs: Sequence[tuple[int, int]]) -> int:
    """Counts the videos of a class `child` for which its `parent` was predicted."""
    return sum(int(confusion[child, parent]) for child, parent in set(pairs) if child != parent)


def read_forgiven(path: Path, class_names: Sequence[str]) -> list[tuple[int, int]]:
    """Reads pairs (child, parent) of class indices from a file with one pair per line.

    A class is its name or its index. A tab, a comma, a semicolon or `->` separates the two; a space does if only one
    reading is possible. Empty lines and lines that start with # are ignored.

    Raises: UserError with file and line for an unknown class, or a line that can be read in no way or in several.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the file of forgiven pairs cannot be read: {error}") from None
    known = {str(index): index for index in range(len(class_names))}
    known.update(
        {name: index for index, name in enumerate(class_names)}
    )  # "7" is the class of this name if there is one, else index 7
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        readings = {(known[a], known[b]) for a, b in _splits(line) if a in known and b in known}
        if len(readings) != 1:
            raise UserError(f"{path}:{number}: {_why(line, known, bool(readings))}")
        pairs.append(readings.pop())
    return pairs


def _splits(line: str) -> Iterator[tuple[str, str]]:
    """Yields every way to split a line in two; spaces are used only if the line has no other separator."""
    for separator in _SEPARATORS:
        for match in re.finditer(re.escape(separator), line):
            yield line[: match.start()].strip(' "\t'), line[match.end() :].strip(' "\t')
    if not any(separator in line for separator in _SEPARATORS):
        for match in re.finditer(r"\s+", line.strip()):
            yield line.strip()[: match.start()], line.strip()[match.end() :]


def _why(line: str, known: dict[str, int], several: bool) -> str:
    if several:
        return f"{line.strip()!r} can be read in several ways; put a tab between child and parent"
    for first, second in _splits(line):
        unknown = [name for name in (first, second) if name not in known]
        if len(unknown) == 1:
            near = difflib.get_close_matches(unknown[0], list(known), n=1)
            return f"{unknown[0]!r} is not a class" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"{line.strip()!r} is not a pair of classes; write `child<tab>parent`, by name or index"
