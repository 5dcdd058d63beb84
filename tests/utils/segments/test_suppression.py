"""Suppression keeps the best of answers that repeat each other, per class and video."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.segments import made_up
from utils.segments.overlap import temporal_iou
from utils.segments.suppression import suppress, suppress_softly
from utils.segments.table import Segments

THREE = Segments([0, 0, 0], [0, 2, 20], [10, 12, 30], [0, 0, 0], [0.8, 0.9, 0.5])  # the first two overlap by 8/12


def test_the_worse_of_two_that_overlap_is_removed_and_a_chain_keeps_its_third() -> None:
    assert suppress(THREE, iou=0.5).score.tolist() == [0.9, 0.5]
    assert suppress(THREE, iou=8 / 12).score.tolist() == [0.8, 0.9, 0.5]  # only more than `iou` is too much
    chain = Segments([0] * 3, [0, 6, 12], [10, 16, 22], [0] * 3, [0.9, 0.8, 0.7])
    assert suppress(chain, iou=0.2).score.tolist() == [0.9, 0.7]


def test_kept_answers_of_a_class_and_video_do_not_overlap_and_the_removed_ones_do(rng: np.random.Generator) -> None:
    table, _ = made_up(rng, answers=120)
    kept = suppress(table, iou=0.3)
    assert 0 < len(kept) < len(table)
    for row in range(len(kept)):
        others = (kept.video == kept.video[row]) & (kept.label == kept.label[row]) & (np.arange(len(kept)) != row)
        assert (temporal_iou(kept.start[row], kept.end[row], kept.start[others], kept.end[others]) <= 0.3).all()
    assert np.array_equal(suppress(kept, iou=0.3).start, kept.start)


@pytest.mark.parametrize("change", [{"video": [0, 1, 0]}, {"label": [0, 1, 0]}])
def test_other_videos_and_classes_change_nothing(change: dict[str, list[int]]) -> None:
    columns = {"video": THREE.video, "start": THREE.start, "end": THREE.end, "label": THREE.label, "score": THREE.score}
    table = Segments(**(columns | change))
    assert len(suppress(table, iou=0.1)) == 3
    for kind in ("gaussian", "linear"):
        assert suppress_softly(table, kind=kind).score.tolist() == table.score.tolist()


def test_soft_suppression_lowers_scores_by_the_published_factors() -> None:
    overlap = 8 / 12
    gaussian = suppress_softly(THREE, sigma=0.5)
    assert gaussian.score == pytest.approx([0.8 * np.exp(-(overlap**2) / 0.5), 0.9, 0.5])
    assert suppress_softly(THREE, kind="linear").score == pytest.approx([0.8 * (1 - overlap), 0.9, 0.5])
    assert suppress_softly(THREE, kind="linear", iou=0.7).score.tolist() == [0.8, 0.9, 0.5]
    assert suppress_softly(THREE, sigma=0.5, lowest=0.4).score == pytest.approx([0.9, 0.5])


def test_soft_suppression_takes_the_best_of_what_is_left() -> None:
    # the third is better than the second once the first has lowered it, so it lowers the second again
    table = Segments([0] * 3, [0, 1, 4], [10, 11, 14], [0] * 3, [0.9, 0.8, 0.7])
    one, two, three = 0.9, 0.8 * (1 - 9 / 11), 0.7 * (1 - 6 / 14)
    assert two < three
    found = suppress_softly(table, kind="linear", iou=0.3)
    assert found.score == pytest.approx([one, two * (1 - 7 / 13), three])


def test_no_answers_stay_no_answers() -> None:
    empty = Segments([], [], [], [])
    assert len(suppress(empty, iou=0.5)) == len(suppress_softly(empty)) == 0
