"""False answers are of the kinds that DETAD's code gives them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.segments import golden, made_up
from utils.scoring.segments.error_kinds import GROUPS, KINDS, error_kinds, gains, groups_of_best, profile
from utils.scoring.segments.matching import match_by_overlap
from utils.segments.table import Segments


def test_kinds_equal_those_of_detad() -> None:
    case = golden("detad")
    answers, truths, thresholds = Segments(**case["answers"]), Segments(**case["truths"]), case["thresholds"]
    found = error_kinds(answers, truths, match_by_overlap(answers, truths, thresholds), thresholds)
    assert found.tolist() == case["kinds"]
    assert set(np.unique(found)) == set(range(len(KINDS)))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((0, 0, 10, 0), "right"),
        ((0, 1, 10, 0), "double detection"),
        ((0, 1, 10, 1), "wrong label"),
        ((0, 6, 14, 0), "localisation"),
        ((0, 6, 14, 1), "confusion"),
        ((0, 9.9, 20, 0), "background"),
        ((1, 0, 10, 0), "background"),
    ],
)
def test_each_kind_by_hand(answer: tuple[int, float, float, int], kind: str) -> None:
    truths = Segments([0], [0], [10], [0])
    best = (0, 0, 10, 0, 0.9)  # takes the true segment, unless the answer itself does
    table = Segments(*zip(best, (*answer, 1.0 if kind == "right" else 0.5), strict=True))
    found = error_kinds(table, truths, match_by_overlap(table, truths, (0.5,)), (0.5,))
    assert KINDS[found[0, 1]] == kind


def test_a_video_without_true_segments_has_only_background() -> None:
    truths = Segments([0], [0], [10], [0])
    answers = Segments([1, 1], [0, 0], [10, 10], [0, 1])  # DETAD compares the second with another video
    assert (error_kinds(answers, truths, np.full((1, 2), -1), (0.5,)) == KINDS.index("background")).all()


def test_groups_hold_as_many_answers_as_there_are_true_segments() -> None:
    truths = Segments([0] * 3, [0] * 3, [1] * 3, [0, 0, 1])
    scores = np.arange(30) / 30
    answers = Segments([0] * 30, [0] * 30, [1] * 30, [0] * 24 + [1] * 5 + [2], scores)
    found = groups_of_best(answers, truths, num_class=3)
    assert found[:24].tolist() == [-1] * 4 + np.repeat(np.arange(GROUPS), 2)[::-1].tolist()
    assert found[24:29].tolist() == [4, 3, 2, 1, 0] and found[29] == -1
    kinds = np.zeros((2, 30), np.int8)
    assert profile(kinds, found)[:, 0].tolist() == [3] * 5 + [2] * 5


def test_the_gain_of_a_kind_is_the_map_without_its_answers(rng: np.random.Generator) -> None:
    truths = Segments([0, 1], [0, 0], [10, 10], [0, 0])
    # background before each right answer: AP is 50, and 100 without them
    answers = Segments([0, 0, 1, 1], [50, 0, 50, 0], [60, 10, 60, 10], [0] * 4, [0.9, 0.8, 0.7, 0.6])
    matched = match_by_overlap(answers, truths, (0.5, 0.75))
    kinds = error_kinds(answers, truths, matched, (0.5, 0.75))
    found = gains(answers, truths, matched, kinds, groups_of_best(answers, truths, num_class=1), num_class=1)
    assert found.tolist() == [0, 0, 0, 0, 0, 50]
    answers, truths = made_up(rng)
    matched = match_by_overlap(answers, truths, (0.5,))
    kinds, groups = error_kinds(answers, truths, matched, (0.5,)), groups_of_best(answers, truths, num_class=3)
    assert (gains(answers, truths, matched, kinds, groups, num_class=3) >= 0).all()
