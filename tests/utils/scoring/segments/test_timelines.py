"""Scores of labels over time equal those of MS-TCN's evaluation, in frames and in seconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.helpers.segments import golden
from utils.errors import UserError
from utils.scoring.segments.timelines import (
    OVERLAPS,
    Timeline,
    edit_score,
    score_timelines,
    segment_counts,
    timeline_of_frames,
    timeline_of_segments,
)
from utils.segments.table import Segments


@pytest.mark.parametrize("expected", golden("ms_tcn")["scores"], ids=lambda one: f"background {one['background']}")
def test_scores_equal_those_of_ms_tcn(expected: dict[str, Any]) -> None:
    videos = golden("ms_tcn")["videos"]
    answers, truths = ([timeline_of_frames(one[side]) for one in videos] for side in ("answer", "truth"))
    found = score_timelines(answers, truths, background=expected["background"])
    assert [found.f1[overlap][0] for overlap in OVERLAPS] == pytest.approx(expected["f1"])
    assert found.edit[0] == pytest.approx(expected["edit"])
    assert found.accuracy[0] == pytest.approx(expected["accuracy"])


def slow_edit(one: list[int], other: list[int]) -> float:
    """Levenshtein's distance by its definition."""

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, replaced)

    return 100 * (1 - distance(len(one), len(other)) / max(len(one), len(other)))


def test_the_edit_score_is_that_of_its_definition(rng: np.random.Generator) -> None:
    for _ in range(20):
        answer, truth = (timeline_of_frames(rng.integers(0, 4, rng.integers(1, 20))) for _ in range(2))
        assert edit_score(answer, truth) == pytest.approx(slow_edit(answer.label.tolist(), truth.label.tolist()))


def test_segments_counted_by_hand() -> None:
    truth = timeline_of_frames([0] * 4 + [1] * 6 + [0] * 4 + [2] * 6)
    answer = timeline_of_frames([0] * 4 + [1] * 3 + [0] + [1] * 2 + [0] * 4 + [3] * 6)  # one run in two, one wrong
    assert segment_counts(answer, truth, 0.5, background=[0]) == (1, 2, 1)
    assert segment_counts(answer, truth, 0.51, background=[0]) == (0, 3, 2)
    assert segment_counts(answer, answer, 1.0) == (6, 0, 0)


def test_accuracy_with_and_without_background_counts_time() -> None:
    truth = timeline_of_frames([0] * 6 + [1] * 4)
    answer = timeline_of_frames([0] * 9 + [1])
    found = score_timelines([answer], [truth], background=[0])
    assert (found.accuracy[0], found.accuracy_without_background[0]) == (70, 25)


def test_frames_and_seconds_give_the_same_numbers(rng: np.random.Generator) -> None:
    frames = [rng.integers(0, 3, 30).repeat(4) for _ in range(2)]
    in_frames = [timeline_of_frames(one) for one in frames]
    in_seconds = []
    for one in in_frames:
        start, end, label = one.without([0])
        table = Segments([0] * len(label), start / 25, end / 25, label)
        timeline, several = timeline_of_segments(table, duration=120 / 25, background=0)
        assert several == 0 and timeline.label.tolist() == one.label.tolist()
        in_seconds.append(timeline)
    one, other = (score_timelines(pair[:1], pair[1:], background=[0]) for pair in (in_frames, in_seconds))
    assert one.edit == other.edit and one.f1 == other.f1
    assert one.accuracy == pytest.approx(other.accuracy)
    assert one.accuracy_without_background == pytest.approx(other.accuracy_without_background)


def test_the_highest_score_counts_where_segments_overlap_and_the_seconds_are_said() -> None:
    table = Segments([0] * 3, [0, 4, 20], [10, 6, 30], [1, 2, 1], [0.5, 0.9, 0.5])
    timeline, several = timeline_of_segments(table, duration=25, background=0)
    assert timeline.edges.tolist() == [0, 4, 6, 10, 20, 25] and timeline.label.tolist() == [1, 2, 1, 0, 1]
    assert several == 2
    later, _ = timeline_of_segments(table.take([1, 0, 2]).with_scores(np.ones(3)), duration=25, background=0)
    assert later.label.tolist() == [1, 2, 1, 0, 1]  # equal scores: the one that starts last
    lower, _ = timeline_of_segments(table.with_scores(np.array([0.9, 0.5, 1])), duration=25, background=0)
    assert lower.edges.tolist() == [0, 10, 20, 25]


def test_videos_without_segments() -> None:
    nothing, something = timeline_of_frames([0] * 5), timeline_of_frames([0, 0, 1, 1, 0])
    assert edit_score(nothing, nothing, background=[0]) == 100 and edit_score(something, nothing, background=[0]) == 0
    assert segment_counts(something, nothing, 0.5, background=[0]) == (0, 1, 0)
    assert segment_counts(nothing, something, 0.5, background=[0]) == (0, 0, 1)
    found = score_timelines([nothing], [nothing], background=[0])
    assert np.isnan(found.f1[0.5][0]) and found.accuracy[0] == 100 and np.isnan(found.accuracy_without_background[0])
    empty = timeline_of_segments(Segments([], [], [], []), duration=3, background=7)[0]
    assert empty.edges.tolist() == [0, 3] and empty.label.tolist() == [7]


def test_answers_of_another_length_are_an_error() -> None:
    with pytest.raises(UserError, match="an answer is 3 long and its truth 4"):
        score_timelines([timeline_of_frames([0] * 3)], [timeline_of_frames([0] * 4)])


def test_intervals_hold_the_estimate() -> None:
    videos = golden("ms_tcn")["videos"] * 3
    answers, truths = ([timeline_of_frames(one[side]) for one in videos] for side in ("answer", "truth"))
    found = score_timelines(answers, truths)
    for value, low, high in (found.f1[0.5], found.edit, found.accuracy):
        assert low < value < high
    assert isinstance(answers[0], Timeline)
