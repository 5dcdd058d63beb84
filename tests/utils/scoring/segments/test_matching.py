"""Answers find true segments as in a loop over the answers, best score first."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.segments import made_up
from utils.scoring.segments.matching import ACTIVITYNET, THUMOS, match_by_overlap, match_points
from utils.segments.overlap import temporal_iou
from utils.segments.table import Segments


def slow_match(answers: Segments, truths: Segments, bound: float, *, points: bool) -> list[int]:
    """The definition: each answer in the order of scores takes the best true segment that is left."""
    taken: set[int] = set()
    matched = [-1] * len(answers)
    for answer in sorted(range(len(answers)), key=lambda row: -answers.score[row]):
        best, found = -np.inf, -1
        for truth in range(len(truths)):
            same = answers.video[answer] == truths.video[truth] and answers.label[answer] == truths.label[truth]
            one, other = (answers.start[answer], answers.end[answer]), (truths.start[truth], truths.end[truth])
            quality = -abs(one[0] - other[0]) if points else float(temporal_iou(*map(np.array, (*one, *other))))
            near = quality >= (-bound if points else bound)
            if same and truth not in taken and near and (quality > best if points else quality >= best):
                best, found = quality, truth
        if found >= 0:
            matched[answer] = found
            taken.add(found)
    return matched


@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_a_loop_over_the_answers(seed: int) -> None:
    answers, truths = made_up(np.random.default_rng(seed), videos=2, classes=2, truths=20)
    found = match_by_overlap(answers, truths, (0.1, 0.5))
    assert found.tolist() == [slow_match(answers, truths, bound, points=False) for bound in (0.1, 0.5)]
    assert (found >= 0).any(axis=1).all()
    near = match_points(answers, truths, (1, 5))
    assert near.tolist() == [slow_match(answers, truths, bound, points=True) for bound in (1, 5)]


def test_the_better_score_takes_the_true_segment_and_the_other_gets_the_next_best() -> None:
    truths = Segments([0, 0], [0, 4], [10, 14], [0, 0])
    answers = Segments([0, 0], [0, 1], [10, 11], [0, 0], [0.5, 0.9])  # the second is nearer to the first truth, too
    assert match_by_overlap(answers, truths, (0.4,)).tolist() == [[1, 0]]
    assert match_by_overlap(answers, truths, (0.5,)).tolist() == [[-1, 0]]


def test_equal_answers_and_equal_truths_match_one_to_one_in_their_order() -> None:
    same = Segments([0] * 30, [1] * 30, [2] * 30, [0] * 30)
    found = match_by_overlap(same, same.take(range(20)), (1.0,))
    assert found[0, :20].tolist() == list(range(20))[::-1] and (found[0, 20:] == -1).all()


def test_an_overlap_that_is_the_threshold_counts() -> None:
    truths = Segments([0], [0], [10], [0])
    for bound, length in zip(ACTIVITYNET, (5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5), strict=True):
        assert match_by_overlap(Segments([0], [0], [length], [0]), truths, (bound,)).tolist() == [[0]]


def test_the_thresholds_are_those_of_the_published_evaluations() -> None:
    assert pytest.approx((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)) == ACTIVITYNET
    assert pytest.approx((0.3, 0.4, 0.5, 0.6, 0.7)) == THUMOS


def test_segments_without_length_overlap_nothing_but_have_a_start() -> None:
    point = Segments([0], [3], [3], [0])
    assert match_by_overlap(point, point, (0.0, 0.5)).tolist() == [[-1], [-1]]
    assert match_points(point, point, (0.0,)).tolist() == [[0]]


def test_ends_can_be_matched_as_points_too() -> None:
    answer, truth = Segments([0], [0], [9], [0]), Segments([0], [5], [10], [0])
    assert match_points(answer, truth, (1, 5)).tolist() == [[-1], [0]]
    assert match_points(answer, truth, (1, 5), moment="end").tolist() == [[0], [0]]


def test_without_answers_or_truths_nothing_is_found() -> None:
    empty, one = Segments([], [], [], []), Segments([0], [0], [1], [0])
    assert match_by_overlap(empty, one).shape == (10, 0)
    assert (match_by_overlap(one, empty) == -1).all() and (match_points(one, empty) == -1).all()
