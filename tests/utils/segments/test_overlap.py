"""Overlaps counted by hand, and pairs that are those of two loops, whatever the size of a block."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.segments import made_up
from utils.segments import overlap
from utils.segments.table import Segments


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 10), (5, 15), 5 / 15),
        ((0, 10), (0, 10), 1),
        ((0, 10), (10, 20), 0),
        ((0, 10), (12, 20), 0),
        ((0, 10), (2, 4), 2 / 10),
        ((3, 3), (3, 3), 0),
    ],
)
def test_overlap_counted_by_hand(one: tuple[float, float], other: tuple[float, float], expected: float) -> None:
    assert overlap.temporal_iou(*map(np.array, (*one, *other))) == pytest.approx(expected)


@pytest.mark.parametrize("same_label", [True, False])
@pytest.mark.parametrize("block", [1 << 21, 7])
def test_pairs_are_those_of_two_loops(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, same_label: bool, block: int
) -> None:
    monkeypatch.setattr(overlap, "_PAIRS_AT_ONCE", block)
    answers, truths = made_up(rng)
    expected = [
        (answer, truth)
        for answer in range(len(answers))
        for truth in range(len(truths))
        if answers.video[answer] == truths.video[truth]
        and (not same_label or answers.label[answer] == truths.label[truth])
    ]
    blocks = list(overlap.pairs(answers, truths, same_label=same_label))
    assert [pair for one in blocks for pair in zip(*map(np.ndarray.tolist, one), strict=True)] == expected
    assert (len(blocks) > 1) == (block == 7)


def test_tables_without_segments_have_no_pairs() -> None:
    empty, one = Segments([], [], [], []), Segments([0], [0], [1], [0])
    for pair in ((empty, one), (one, empty), (empty, empty)):
        assert sum(len(answer) for answer, _ in overlap.pairs(*pair, same_label=True)) == 0
