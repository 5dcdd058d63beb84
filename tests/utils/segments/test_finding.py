"""Segments from scores over time: identity on scores that are 0 and 1, and what shifts and orders must not change."""

from __future__ import annotations

import numpy as np
import pytest

from utils.errors import UserError
from utils.segments.finding import find_segments, smooth
from utils.segments.table import Segments

TIMES = np.arange(40) * 0.5 + 0.25  # 20 seconds, a moment every half second


def scores_of(*segments: tuple[float, float, int], classes: int = 3) -> np.ndarray:
    """Scores that are 1 inside of the segments (start, end, class) and 0 elsewhere."""
    scores = np.zeros((len(TIMES), classes))
    for start, end, label in segments:
        scores[(start <= TIMES) & (end > TIMES), label] = 1
    return scores


def rows(segments: Segments) -> list[tuple[float, float, int]]:
    return list(zip(segments.start.tolist(), segments.end.tolist(), segments.label.tolist(), strict=True))


TRUE = [(0.0, 3.0, 0), (5.0, 9.5, 0), (4.0, 6.0, 1), (19.0, 20.0, 2)]


def test_scores_that_are_0_and_1_give_the_segments_that_they_were_made_of() -> None:
    found = find_segments(scores_of(*TRUE), TIMES, high=0.5, video=7)
    assert rows(found) == TRUE and found.score.tolist() == [1] * 4 and found.video.tolist() == [7] * 4


def test_a_shift_in_time_shifts_the_segments_and_nothing_else(rng: np.random.Generator) -> None:
    scores = smooth(rng.random((40, 3)), TIMES, seconds=1)
    options = {"high": 0.55, "low": 0.45, "smoothing": 0.5, "min_length": 1.0}
    one, other = (find_segments(scores, TIMES + shift, **options) for shift in (0, 64))
    assert len(one) > 3
    np.testing.assert_allclose(other.start - 64, one.start, atol=1e-9)
    np.testing.assert_allclose(other.end - 64, one.end, atol=1e-9)
    np.testing.assert_allclose(other.score, one.score)


def test_the_order_of_the_classes_is_only_that_of_the_answers(rng: np.random.Generator) -> None:
    scores, order = rng.random((40, 3)), np.array([2, 0, 1])
    high = np.array([0.5, 0.6, 0.7])
    one = find_segments(scores, TIMES, high=high, low=0.4)
    other = find_segments(scores[:, order], TIMES, high=high[order], low=0.4)
    other = Segments(other.video, other.start, other.end, order[other.label], other.score)
    assert sorted(rows(one)) == sorted(rows(other))


def test_hysteresis_keeps_weak_moments_next_to_a_strong_one_and_no_others() -> None:
    scores = np.array([0.1, 0.4, 0.9, 0.4, 0.1, 0.4, 0.5, 0.1])[:, None]
    found = find_segments(scores, np.arange(8) + 0.5, high=0.8, low=0.3)
    assert rows(found) == [(1, 4, 0)]
    assert found.score == pytest.approx([(0.4 + 0.9 + 0.4) / 3])
    assert rows(find_segments(scores, np.arange(8) + 0.5, high=0.5, low=0.3)) == [(1, 4, 0), (5, 7, 0)]


def test_a_threshold_is_reached_by_an_equal_score_and_a_class_with_nan_gives_nothing() -> None:
    scores = np.array([[0.5, 0.9], [0.1, 0.9]])
    assert rows(find_segments(scores, [0.5, 1.5], high=[0.5, np.nan])) == [(0, 1, 0)]


def test_the_background_of_a_softmax_gives_no_segments() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    assert rows(find_segments(scores, [0.5, 1.5, 2.5], high=0.5, background=0)) == [(1, 2, 1)]


def test_segments_shorter_than_the_smallest_length_are_left_out() -> None:
    found = find_segments(scores_of(*TRUE), TIMES, high=0.5, min_length=2.0)
    assert rows(found) == TRUE[:3]


def test_uneven_moments_meet_halfway_and_weigh_by_their_lengths() -> None:
    found = find_segments([[0.6], [1.0], [0.0]], [1.0, 2.0, 4.0], high=0.5)
    assert rows(found) == [(0.5, 3.0, 0)]
    assert found.score == pytest.approx([(0.6 * 1 + 1.0 * 1.5) / 2.5])


def test_smoothing_over_no_time_changes_nothing_and_constants_stay(rng: np.random.Generator) -> None:
    scores, uneven = rng.random((40, 2)), np.cumsum(rng.uniform(0.1, 1, 40))
    np.testing.assert_array_equal(smooth(scores, uneven, seconds=0), scores)
    np.testing.assert_allclose(smooth(np.full((40, 2), 0.3), uneven, seconds=1), 0.3)


def test_smoothing_is_the_gaussian_average_of_two_loops(rng: np.random.Generator) -> None:
    scores = rng.random((40, 1))
    found = smooth(scores, TIMES, seconds=0.7)
    for row, time in enumerate(TIMES):
        near = np.abs(TIMES - time) <= 3 * 0.7
        weights = np.exp(-0.5 * ((TIMES[near] - time) / 0.7) ** 2)
        assert found[row] == pytest.approx(weights @ scores[near] / weights.sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [[np.nan], [0.5]]}, "the scores at 0.5 s are not finite numbers"),
        ({"times": [1.5, 0.5]}, "the times of the scores do not rise"),
        ({"times": [0.5, np.nan]}, "the times of the scores do not rise"),
        ({"low": 0.9}, "the low threshold 0.9 is above the high one 0.5"),
        ({"smoothing": -1.0}, "smoothing over -1 seconds"),
        ({"smoothing": np.nan}, "smoothing over nan seconds"),
        ({"min_length": np.nan}, "a smallest length of nan seconds"),
        ({"min_length": -1.0}, "a smallest length of -1 seconds"),
        ({"background": -1}, "background -1: there are classes 0 to 0"),
        ({"background": 1}, "background 1: there are classes 0 to 0"),
    ],
)
def test_what_cannot_be_meant_is_an_error(change: dict[str, object], message: str) -> None:
    given = {"scores": [[0.1], [0.5]], "times": [0.5, 1.5], "high": 0.5} | change
    with pytest.raises(UserError, match=message):
        find_segments(given.pop("scores"), given.pop("times"), **given)


def test_a_video_without_moments_has_no_segments_and_a_single_moment_lasts_a_second() -> None:
    assert len(find_segments(np.zeros((0, 2)), [], high=0.5)) == 0
    assert rows(find_segments([[0.9]], [3.0], high=0.5)) == [(2.5, 3.5, 0)]
