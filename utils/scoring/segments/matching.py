"""Decides which answer has found which true segment: by overlap, or by the distance of one moment.

The rule is that of ActivityNet's evaluation (Caba Heilbron et al. 2015, CVPR): answers choose in the order of their
scores, each takes the best true segment of its class in its video that no better answer has taken. Among equal scores
the earlier row chooses first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from utils.segments.overlap import iou_of_pairs, pairs
from utils.segments.table import Segments

ACTIVITYNET = tuple(np.linspace(0.5, 0.95, 10).tolist())  # as their evaluations compute them, to the bit
THUMOS = tuple(np.linspace(0.3, 0.7, 5).tolist())
POINT_SECONDS = tuple(float(second) for second in range(1, 11))
NOT_TAKEN = -1


class _Pairs(NamedTuple):
    answer: np.ndarray  # int64 (p,), rows; equal ones stand together, the best pair first
    truth: np.ndarray  # int64 (p,)
    quality: np.ndarray  # float64 (p,), higher is better


def match_by_overlap(answers: Segments, truths: Segments, thresholds: Sequence[float] = ACTIVITYNET) -> np.ndarray:
    """Returns the row of the true segment that each answer has found, int64 (T, n); -1 for a false answer.

    thresholds: (T,), the smallest intersection over union that counts. Among equal overlaps the later row is taken, as
    in ActivityNet's evaluation.
    """
    found = []
    for answer, truth in pairs(answers, truths, same_label=True):
        iou = iou_of_pairs(answers, truths, (answer, truth))
        near = (iou >= min(thresholds)) & (iou > 0)
        found.append(_Pairs(answer[near], truth[near], iou[near]))
    return _match(found, answers, truths, [float(one) for one in thresholds], later_first=True)


def match_points(
    answers: Segments,
    truths: Segments,
    seconds: Sequence[float] = POINT_SECONDS,
    *,
    moment: Literal["start", "end"] = "start",
) -> np.ndarray:
    """Returns the row of the true segment whose start or end each answer has found, int64 (T, n); -1 if it is false.

    It is the matching of point-level AP (Shou et al. 2018, ECCV, "Online Detection of Action Start").

    seconds: (T,), the largest distance that counts.
    """
    found = []
    for answer, truth in pairs(answers, truths, same_label=True):
        distance = np.abs(getattr(answers, moment)[answer] - getattr(truths, moment)[truth])
        near = distance <= max(seconds)
        found.append(_Pairs(answer[near], truth[near], -distance[near]))
    return _match(found, answers, truths, [-float(one) for one in seconds], later_first=False)


def _match(
    found: list[_Pairs], answers: Segments, truths: Segments, smallest: list[float], *, later_first: bool
) -> np.ndarray:
    matched = np.full((len(smallest), len(answers)), NOT_TAKEN)
    if not found:
        return matched
    answer, truth, quality = (np.concatenate([part[place] for part in found]) for place in range(3))
    order = np.lexsort((-truth if later_first else truth, -quality, answer))
    best_first = _Pairs(answer[order], truth[order], quality[order])
    by_score = answers.by_score()
    for row, bound in enumerate(smallest):
        near = best_first.quality >= bound
        matched[row] = _assign(_Pairs(*(part[near] for part in best_first)), by_score, num_truths=len(truths))
    return matched


def _assign(pairs: _Pairs, by_score: np.ndarray, *, num_truths: int) -> np.ndarray:
    """Returns the truth of each answer, int64 (n,).

    All answers ask at once for their best truth. A truth takes the one with the best score, and leaves it for a better
    one; an answer that is refused or left asks for the next truth. The result does not depend on who asks first, so it
    is that of asking in the order of the scores (Gale and Shapley 1962), without a loop over the answers.
    """
    num_answers = len(by_score)
    place = np.empty(num_answers, np.int64)
    place[by_score] = np.arange(num_answers)
    ask = np.searchsorted(pairs.answer, np.arange(num_answers))  # the pair that each answer tries next
    last = np.searchsorted(pairs.answer, np.arange(num_answers), side="right")
    taken_by = np.full(num_truths, num_answers)  # places; num_answers is nobody's
    asking = np.flatnonzero(ask < last)
    while len(asking):
        wanted = pairs.truth[ask[asking]]
        before = taken_by[wanted]
        np.minimum.at(taken_by, wanted, place[asking])
        won = taken_by[wanted] == place[asking]
        left = by_score[before[won & (before < num_answers)]]
        refused = np.concatenate([asking[~won], left])
        ask[refused] += 1
        asking = refused[ask[refused] < last[refused]]
    matched = np.full(num_answers, NOT_TAKEN)
    taken = np.flatnonzero(taken_by < num_answers)
    matched[by_score[taken_by[taken]]] = taken
    return matched
