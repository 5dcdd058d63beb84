"""What classes need, of answers whose verdict is known."""

from __future__ import annotations

import numpy as np
import pytest

from utils.scoring.needs import (
    AS_IT_IS,
    BACKGROUND,
    NEEDS_MOTION,
    NEEDS_NEITHER,
    NEEDS_ORDER,
    NOT_RECOGNISED,
    SINGLE,
    SWAPPED,
    UNCLEAR,
    ClassNeeds,
    needs_of_classes,
)

CONDITIONS = ("shuffled", "reversed", SINGLE)


def verdict(videos: int = 40, *, right: float = 1.0, num_class: int = 2, **kept: float) -> ClassNeeds:
    """Finds what a class needs. right: share of its videos that are recognised; kept: of these, by condition."""
    labels = np.zeros(videos, np.int64)
    answers = np.ones(videos, np.int64)
    answers[: round(right * videos)] = 0
    predicted = {AS_IT_IS: answers}
    for name in CONDITIONS:
        found = answers.copy()
        found[: round(right * videos * (1 - kept.get(name.split(" ")[0], 1.0)))] = 1
        predicted[name] = found
    (one,) = needs_of_classes(labels, predicted, np.full(videos, -1), num_class=num_class)
    return one


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({}, NEEDS_NEITHER),
        ({"shuffled": 0.5}, NEEDS_ORDER),
        ({"reversed": 0.0}, NEEDS_ORDER),
        ({"single": 0.5}, NEEDS_MOTION),
        ({"single": 0.5, "shuffled": 0.5}, NEEDS_ORDER),
        ({"right": 0.5}, NOT_RECOGNISED),
    ],
)
def test_a_class_needs_what_its_videos_are_lost_without(kept: dict, expected: str) -> None:
    assert verdict(**kept).verdict == expected


def test_few_videos_cannot_tell_that_nothing_is_needed_but_all_of_them_tell_what_is() -> None:
    assert verdict(8, num_class=8).verdict == UNCLEAR  # 3 of 8 others may still be lost
    assert verdict(8, num_class=8, shuffled=0.0).verdict == NEEDS_ORDER
    assert verdict(40, single=0.9).verdict in (NEEDS_MOTION, UNCLEAR)
    labels = np.zeros(6, np.int64)
    found = np.array([0, 0, 0, 0, 1, 1])
    predicted = {AS_IT_IS: found, **dict.fromkeys(CONDITIONS, np.array([0, 0, 0, 0, 0, 1]))}  # one more is right
    (one,) = needs_of_classes(labels, predicted, np.full(6, -1), num_class=8)
    assert one.verdict == UNCLEAR and one.lost["shuffled"].high == 50
    lost = verdict(40, right=0.9).lost["shuffled"]
    assert (lost.value, lost.low, lost.high) == (0.0, -7.5, 7.5)


def test_a_class_of_three_right_videos_is_not_said_to_be_not_recognised() -> None:
    assert verdict(3).verdict == UNCLEAR  # 44 percent may be right, and chance is 50
    assert verdict(3, right=0.0).verdict == NOT_RECOGNISED


def test_the_interval_of_a_loss_covers_the_truth() -> None:
    rng, inside = np.random.default_rng(0), 0
    for trial in range(60):
        labels, right = np.full(50, trial % 3), np.full(50, trial % 3)
        kept = np.where(rng.random(50) < 0.3, 4, right)
        predicted = {AS_IT_IS: right, **dict.fromkeys(CONDITIONS, kept)}
        (one,) = needs_of_classes(labels, predicted, np.full(50, -1), num_class=5)
        inside += one.lost["shuffled"].low <= 30 <= one.lost["shuffled"].high
    assert inside >= 52  # of 60, at 95 %


def test_backgrounds_are_told_apart_from_what_moves_in_front_of_them() -> None:
    labels = np.zeros(30, np.int64)
    right, donor = labels, np.full(30, 1)
    lent = donor.copy()
    lent[:5] = -1
    swapped = np.where(lent < 0, -1, donor)
    predicted = {AS_IT_IS: right, **dict.fromkeys(CONDITIONS, right), BACKGROUND: right, SWAPPED: swapped}
    (one,) = needs_of_classes(labels, predicted, lent, num_class=3)
    assert one.still and one.follows is not None and one.follows.value == 100 and one.lost[SWAPPED].value == 100
    (one,) = needs_of_classes(labels, predicted | {BACKGROUND: donor, SWAPPED: right}, lent, num_class=3)
    assert not one.still and one.follows is not None and one.follows.value == 0
    (one,) = needs_of_classes(labels, predicted | {BACKGROUND: donor - 2}, np.full(30, -1), num_class=3)
    assert not one.still and one.follows is None and BACKGROUND not in one.lost
