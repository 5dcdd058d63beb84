"""AR@AN equals that of mmaction2's evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.segments import golden, made_up
from utils.scoring.segments.proposals import average_recall
from utils.segments.table import Segments

CASES = [case | {"proposals": one} for case in golden("mmaction2")["cases"] for one in case.get("proposals", [])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['name']} {case['proposals']['most']}")
def test_average_recall_equals_that_of_mmaction2(case: dict[str, Any]) -> None:
    answers, truths, expected = Segments(**case["answers"]), Segments(**case["truths"]), case["proposals"]
    found = average_recall(answers, truths, thresholds=case["thresholds"], most=expected["most"])
    places = golden("mmaction2")["places"]
    np.testing.assert_allclose(found.average[places], 100 * np.array(expected["average_recall"]), atol=1e-9)
    np.testing.assert_allclose(found.number[places], expected["number"])
    assert found.area == pytest.approx(expected["area"])


def test_classes_do_not_matter_and_more_answers_find_more(rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    found = average_recall(answers, truths)
    other = Segments(answers.video, answers.start, answers.end, (answers.label + 1) % 3, answers.score)
    np.testing.assert_array_equal(average_recall(other, truths).recall, found.recall)
    assert (np.diff(found.recall, axis=1) >= 0).all() and (np.diff(found.recall, axis=0) <= 0).all()
    assert (found.low <= found.average + 1e-9).all() and (found.average <= found.high + 1e-9).all()


def test_true_segments_as_answers_are_all_found() -> None:
    truths = Segments([0, 0, 1], [0, 20, 5], [10, 30, 9], [0, 1, 2])
    assert average_recall(truths, truths, most=3).average[-1] == 100


def test_without_answers_recall_is_0_and_without_true_segments_unknown(rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    none = average_recall(answers.take([]), truths)
    assert (none.average == 0).all() and none.area == 0
    assert np.isnan(average_recall(answers, truths.take([])).average).all()
