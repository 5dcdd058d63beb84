"""Background: spans of videos outside of everything that a list names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.lists.background import Background, draw_background

SPAN = st.tuples(st.integers(0, 2), st.integers(0, 95), st.integers(1, 40))  # video, start, size


def drawn(spans: Sequence[Sequence[int]], **given: object) -> list[tuple[int, int, int]]:
    """Draws for (video, start, end) in videos of 100 frames; returns (owner, start, end)."""
    table = np.array(spans, np.int64).reshape(-1, 3)
    background = Background(**{"per_span": 2, **given})  # type: ignore[arg-type]
    owners, frames = draw_background(table[:, 1:], table[:, 0], np.full(len(table), 100), background)
    return [(owner, *pair) for owner, pair in zip(owners.tolist(), frames.tolist(), strict=True)]


@settings(max_examples=40)
@given(st.lists(SPAN, min_size=1, max_size=12), st.booleans(), st.integers(0, 5))
def test_background_lies_in_its_video_and_in_no_span(found: list[tuple[int, int, int]], hard: bool, seed: int) -> None:
    spans = [(video, start, min(100, start + size)) for video, start, size in found]
    pieces = drawn(spans, hard=hard, seed=seed)
    assert pieces == drawn(spans, hard=hard, seed=seed)
    for owner, start, end in pieces:
        video, first, last = spans[owner]
        assert 0 <= start < end <= 100 and end - start <= last - first
        assert not any(one == video and start < stop and begin < end for one, begin, stop in spans)
        assert not hard or end == first or start == last
    assert len({(spans[owner][0], start, end) for owner, start, end in pieces}) == len(pieces)
    assert [owner for owner, _, _ in pieces] == sorted(owner for owner, _, _ in pieces)


@pytest.mark.whole
def test_random_background_is_drawn_evenly_from_all_places() -> None:
    counts = np.zeros(100)
    for seed in range(1500):
        ((_, start, end),) = drawn([(0, 20, 30), (1, 0, 100)], per_span=1, seed=seed)
        assert end - start == 10
        counts[start] += 1
    possible = [*range(11), *range(30, 91)]  # where ten frames fit
    assert counts.sum() == counts[possible].sum() and (counts[possible] > 0).all()
    expected = 1500 / len(possible)
    assert ((counts[possible] - expected) ** 2 / expected).sum() < 110  # chi-square of 71 degrees, p 0.002


def test_hard_background_takes_both_sides_before_it_ends() -> None:
    assert sorted(drawn([(0, 40, 60)], hard=True)) == [(0, 20, 40), (0, 60, 80)]
    assert sorted(drawn([(0, 10, 60)], hard=True, per_span=5)) == [(0, 0, 10), (0, 60, 100)]  # as much as there is
    assert drawn([(0, 0, 50), (0, 50, 100)], hard=True) == []
    assert drawn([(0, 0, 50), (0, 50, 90)], hard=True) == [(1, 90, 100)]


@pytest.mark.parametrize("hard", [False, True])
def test_the_draws_of_a_span_do_not_depend_on_other_videos(hard: bool) -> None:
    alone = drawn([(0, 40, 50)], hard=hard)
    assert drawn([(0, 40, 50), (1, 3, 9), (2, 0, 100)], hard=hard)[: len(alone)] == alone
    assert hard or drawn([(0, 40, 50)], seed=1) != alone


def test_a_span_longer_than_what_is_left_gets_the_longest_gap() -> None:
    assert drawn([(0, 10, 70)]) == [(0, 70, 100)]
