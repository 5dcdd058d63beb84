"""Segments are checked when they are made, and taken, joined and ordered by rows."""

from __future__ import annotations

import numpy as np
import pytest

from utils.errors import UserError
from utils.segments.table import Segments, joined


@pytest.mark.parametrize(
    ("start", "end", "score", "message"),
    [
        ([0.0, np.nan], [1.0, 2.0], None, r"segment 1 .* from nan to 2 s of video 7: its start is not a finite number"),
        ([0.0, 1.0], [1.0, np.inf], None, "its end is not a finite number"),
        ([0.0, 1.0], [1.0, 2.0], [0.5, np.nan], "its score is not a finite number"),
        ([0.0, 3.0], [1.0, 2.0], None, "segment 1 .* from 3 to 2 s .*: it ends before it starts"),
    ],
)
def test_a_segment_that_cannot_be_is_named(start: list[float], end: list[float], score: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Segments([7, 7], start, end, [0, 0], score)


def test_indices_below_0_and_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(UserError, match="below 0"):
        Segments([0], [0.0], [1.0], [-1])
    with pytest.raises(ValueError, match="different lengths"):
        Segments([0, 1], [0.0], [1.0], [0])


def test_rows_are_taken_joined_and_ordered_and_true_segments_have_score_1() -> None:
    table = Segments([0, 1, 2], [0, 1, 2], [1, 2, 3], [4, 5, 6], [0.5, 0.9, 0.5])
    assert table.by_score().tolist() == [1, 0, 2]
    both = joined([table.take([2]), table.take(np.array([True, False, False]))])
    assert both.label.tolist() == [6, 4] and both.score.tolist() == [0.5, 0.5]
    assert len(joined([])) == 0 and Segments([0], [0], [0], [0]).score.tolist() == [1]
