"""Average precision of segments equals that of mmaction2's evaluation, and follows from its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.segments import golden, made_up
from utils.scoring.bootstrap import RESAMPLES, draws
from utils.scoring.segments.detection import average_precisions, score_detection
from utils.scoring.segments.matching import match_by_overlap, match_points
from utils.segments.table import Segments


def once(answers: Segments, truths: Segments, matched: np.ndarray, *, num_class: int) -> np.ndarray:
    """The AP of all videos, (T, K)."""
    videos = 1 + max(answers.video.max(initial=0), truths.video.max(initial=0))
    counts = np.ones((videos, 1), np.int32)
    return average_precisions(answers, truths, matched, num_class=num_class, counts=counts)[0]


@pytest.mark.parametrize("case", golden("mmaction2")["cases"], ids=lambda case: case["name"])
def test_average_precision_equals_that_of_mmaction2(case: dict[str, Any]) -> None:
    answers, truths = Segments(**case["answers"]), Segments(**case["truths"])
    matched = match_by_overlap(answers, truths, case["thresholds"])
    found = once(answers, truths, matched, num_class=case["classes"])
    np.testing.assert_allclose(found.T, 100 * np.array(case["average_precision"]), atol=1e-9)


def test_average_precision_counted_by_hand() -> None:
    truths = Segments([0, 0, 1, 1], [0, 20, 0, 20], [10, 30, 10, 30], [0] * 4)
    # right, wrong, right, wrong: precision 1 and 2/3 at recall 1/4 and 2/4
    answers = Segments([0, 0, 1, 1], [0, 50, 20, 50], [10, 60, 30, 60], [0] * 4, [0.9, 0.8, 0.7, 0.6])
    assert once(answers, truths, match_by_overlap(answers, truths, (0.5,)), num_class=1) == pytest.approx(
        100 * (1 / 4 + 2 / 3 / 4)
    )
    # wrong, right, right: the precision 1/2 of the first step is raised to 2/3
    better = answers.take([1, 0, 2]).with_scores(np.array([0.9, 0.8, 0.7]))
    assert once(better, truths, match_by_overlap(better, truths, (0.5,)), num_class=1) == pytest.approx(100 / 3)


def test_true_segments_as_answers_have_100_and_no_answers_have_0(rng: np.random.Generator) -> None:
    _, truths = made_up(rng)
    assert (once(truths, truths, match_by_overlap(truths, truths), num_class=3) == 100).all()
    none = truths.take([])
    assert (once(none, truths, match_by_overlap(none, truths), num_class=3) == 0).all()


def test_a_class_without_true_segments_has_nan_and_is_left_out_of_the_mean(rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    rest = truths.take(truths.label != 1)
    found = score_detection(answers, rest, match_by_overlap(answers, rest), num_class=3, num_videos=6)
    assert np.isnan(found.precision[:, 1]).all() and np.isnan(found.precision_low[1])
    np.testing.assert_allclose(found.mean, found.precision[:, [0, 2]].mean(axis=1))
    assert found.average == pytest.approx(found.mean.mean())


def test_shifts_in_time_and_rising_functions_of_the_scores_change_nothing(rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    expected = once(answers, truths, match_by_overlap(answers, truths), num_class=3)
    moved, moved_truths = (Segments(t.video, t.start + 64, t.end + 64, t.label, t.score) for t in (answers, truths))
    moved = moved.with_scores(np.exp(3 * answers.score))
    found = once(moved, moved_truths, match_by_overlap(moved, moved_truths), num_class=3)
    np.testing.assert_allclose(found, expected)


def test_a_video_drawn_twice_counts_as_two_videos_next_to_each_other(rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    answers = answers.with_scores(rng.permutation(len(answers)) / 100.0)
    counts = draws(6)
    found = average_precisions(
        answers, truths, match_by_overlap(answers, truths), num_class=3, counts=counts
    )  # (R, T, K)
    for sample in (0, 7, RESAMPLES - 1):
        copied = [_drawn(table, counts[:, sample]) for table in (answers, truths)]
        expected = once(*copied, match_by_overlap(*copied), num_class=3)
        np.testing.assert_allclose(found[sample], expected)


def _drawn(table: Segments, counts: np.ndarray) -> Segments:
    """The segments of the videos, each as often as it was drawn; the copies of an answer stand together."""
    copies = counts[table.video]
    rows = np.repeat(np.arange(len(table)), copies)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
    part = table.take(rows)
    return Segments(100 * part.video + copy, part.start, part.end, part.label, part.score)


def test_intervals_hold_the_estimate_and_shrink_with_more_videos(rng: np.random.Generator) -> None:
    widths = []
    for videos in (10, 160):
        answers, truths = made_up(rng, videos=videos, truths=3 * videos, answers=10 * videos)
        found = score_detection(answers, truths, match_by_overlap(answers, truths), num_class=3, num_videos=videos)
        assert (found.low <= found.mean).all() and (found.mean <= found.high).all()
        assert found.average_low < found.average < found.average_high
        widths.append(found.average_high - found.average_low)
    assert widths[1] < widths[0] / 2


def test_the_middle_of_an_interval_is_the_estimate_where_samples_are_better_than_the_videos() -> None:
    """Few of many answers are right, so the copies of a video that is drawn twice raise precision."""
    rng, videos, count = np.random.default_rng(0), 300, 12000
    start, near = rng.uniform(0, 100, count), rng.uniform(0, 100, videos)
    video, label = rng.integers(0, videos, count), rng.integers(0, 20, count)
    answers = Segments(video, start, start + 15, label, rng.random(count))
    truths = Segments(np.arange(videos), near, near + 15, rng.integers(0, 20, videos))
    found = score_detection(answers, truths, match_by_overlap(answers, truths, (0.1,)), num_class=20, num_videos=videos)
    below, above = found.average - found.average_low, found.average_high - found.average
    assert found.average < 1 and above / 2 < below < above  # without the correction below is a tenth of above


def test_large_classes_are_sampled_in_blocks_with_the_same_result(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, truths = made_up(rng)
    matched, counts = match_by_overlap(answers, truths), draws(6)
    expected = average_precisions(answers, truths, matched, num_class=3, counts=counts)
    monkeypatch.setattr("utils.scoring.segments.detection._CELLS_AT_ONCE", 100)
    np.testing.assert_array_equal(average_precisions(answers, truths, matched, num_class=3, counts=counts), expected)


def test_point_level_precision_ignores_the_ends() -> None:
    truths = Segments([0, 0], [10, 40], [20, 50], [0, 0])
    answers = Segments([0, 0, 0], [10.5, 37, 90], [11, 90, 91], [0, 0, 0], [0.9, 0.8, 0.7])
    found = once(answers, truths, match_points(answers, truths, (0.4, 1, 3)), num_class=1)
    assert found[:, 0].tolist() == [0, 50, 100]
