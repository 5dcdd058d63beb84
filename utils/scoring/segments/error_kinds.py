"""Says why false answers are false, and what mAP would be without them, as DETAD does (Alwassel et al. 2018, ECCV)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.scoring.bootstrap import mean_of_classes
from utils.scoring.segments.detection import average_precisions
from utils.scoring.segments.matching import NOT_TAKEN
from utils.segments.overlap import iou_of_pairs, pairs
from utils.segments.table import Segments

# an answer's best overlap with any true segment of its video decides: at least the threshold and of its class, which a
# better answer has found; the same, of another class; below it and of its class; of another class; below LEAST
KINDS = ("right", "double detection", "wrong label", "localisation", "confusion", "background")
RIGHT, DOUBLE, WRONG_LABEL, LOCALISATION, CONFUSION, BACKGROUND = range(len(KINDS))
LEAST = 0.1  # the smallest overlap that is no background
GROUPS = 10  # as many answers as there are true segments, and again, up to ten times


def best_overlaps(answers: Segments, truths: Segments) -> tuple[np.ndarray, np.ndarray]:
    """Returns each answer's best overlap with any true segment of its video, float64 (n,), and the row of that one.

    The row is -1 without a true segment in the video. Among equal overlaps the first row counts, as in DETAD.
    """
    best, row = np.zeros(len(answers)), np.full(len(answers), NOT_TAKEN)
    for answer, truth in pairs(answers, truths, same_label=False):
        iou = iou_of_pairs(answers, truths, (answer, truth))
        order = np.lexsort((truth, -iou, answer))
        first = order[np.flatnonzero(np.diff(answer[order], prepend=-1))]
        best[answer[first]], row[answer[first]] = iou[first], truth[first]
    return best, row


def error_kinds(
    answers: Segments, truths: Segments, matched: np.ndarray, thresholds: Sequence[float], *, least: float = LEAST
) -> np.ndarray:
    """Returns the place in KINDS of each answer at each threshold, int8 (T, n).

    matched: int64 (T, n), from `match_by_overlap` at these thresholds.
    """
    overlap, row = best_overlaps(answers, truths)
    same = (row != NOT_TAKEN) & (np.append(truths.label, -1)[row] == answers.label)
    kinds = np.empty(matched.shape, np.int8)
    for place, bound in enumerate(thresholds):
        near = np.where(overlap >= bound, np.where(same, DOUBLE, WRONG_LABEL), np.where(same, LOCALISATION, CONFUSION))
        wrong = np.where((overlap >= least) | (overlap >= bound), near, BACKGROUND)
        kinds[place] = np.where(matched[place] != NOT_TAKEN, RIGHT, wrong)
    return kinds


def groups_of_best(answers: Segments, truths: Segments, *, num_class: int) -> np.ndarray:
    """Returns the group of each answer, int64 (n,): 0 for the best G of its class, 1 for the next G, and so on.

    G is the number of true segments of the class. Answers behind the best GROUPS x G are in no group: -1.
    """
    order = np.lexsort((np.arange(len(answers)), -answers.score, answers.label))
    ordered = answers.label[order]
    place = np.arange(len(answers)) - np.searchsorted(ordered, ordered)
    size = np.bincount(truths.label, minlength=num_class)[ordered]
    group = np.where(place < GROUPS * size, place // np.maximum(size, 1), -1)
    found = np.empty(len(answers), np.int64)
    found[order] = group
    return found


def profile(kinds: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns how many answers of each group are of each kind, mean over the thresholds, float64 (GROUPS, KINDS)."""
    counts = np.zeros((GROUPS, len(KINDS)))
    inside = groups >= 0
    for row in kinds[:, inside]:
        np.add.at(counts, (groups[inside], row), 1)
    return counts / max(1, len(kinds))


def gains(
    answers: Segments, truths: Segments, matched: np.ndarray, kinds: np.ndarray, groups: np.ndarray, *, num_class: int
) -> np.ndarray:
    """Returns by how many points mAP rises without the false answers of each kind, float64 (KINDS,); 0 for right ones.

    mAP is averaged over the thresholds, and counts the answers that are in a group. Both are so in DETAD, whose AP is
    normalised, while this one is not.
    """
    ones = np.ones((1 + max((int(t.video.max()) for t in (answers, truths) if len(t)), default=0), 1), np.int32)

    def mean(keep: np.ndarray) -> float:
        values = []
        for row, kept in enumerate(keep):
            rows = np.flatnonzero(kept)
            part = average_precisions(
                answers.take(rows), truths, matched[row : row + 1, rows], num_class=num_class, counts=ones
            )
            values.append(mean_of_classes(part[:, 0])[0])
        return float(np.mean(values))

    counted = np.broadcast_to(groups >= 0, kinds.shape)
    before = mean(counted)
    return np.array([mean(counted & (kinds != kind)) - before if kind != RIGHT else 0.0 for kind in range(len(KINDS))])
