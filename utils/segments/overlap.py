"""Computes how much segments overlap, and finds the pairs of two tables that can."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from utils.segments.table import Segments

_PAIRS_AT_ONCE = 1 << 21  # keeps the memory of a block of pairs below 200 MB


def temporal_iou(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """Returns the intersection over the union of segments, float64 in 0..1; all arguments in seconds, broadcast.

    Two segments without length have 0, even if they are equal.
    """
    common = np.clip(np.minimum(end, other_end) - np.maximum(start, other_start), 0, None)
    union = (other_end - other_start) + (end - start) - common
    return np.divide(common, union, out=np.zeros(np.shape(union)), where=union > 0)


def pairs(answers: Segments, truths: Segments, *, same_label: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the rows (answer, truth), int64 (p,) each, of all pairs in the same video, in blocks that fit into memory.

    Pairs are in the order of the answers, and those of one answer in the order of the truths, within one block.
    same_label: only pairs of the same class.
    """
    classes = 1 + max((int(table.label.max()) for table in (answers, truths) if len(table)), default=0)
    key = truths.video * classes + truths.label if same_label else truths.video
    wanted = answers.video * classes + answers.label if same_label else answers.video
    order = np.argsort(key, kind="stable")
    first, last = (np.searchsorted(key[order], wanted, side=side) for side in ("left", "right"))
    count = last - first
    rows = np.flatnonzero(count)
    block = np.cumsum(count[rows]) // _PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(block)) + 1):
        counts = count[part]
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(part, counts), order[np.repeat(first[part], counts) + place]


def iou_of_pairs(answers: Segments, truths: Segments, rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns the intersection over union of each pair of rows (answer, truth), float64 (p,)."""
    answer, truth = rows
    return temporal_iou(answers.start[answer], answers.end[answer], truths.start[truth], truths.end[truth])
