"""The page of segments has the numbers of its parts; test_segment_page_browser.py opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools import segment_page
from anal_tools.segment_input import Case, read_case
from anal_tools.segment_page import render, segment_data
from anal_tools.segment_scores import score_case
from tests.helpers.segments import made_up, write_files
from utils.scoring.segments.error_kinds import KINDS
from utils.segments.table import Segments

# film_0: one found (late by 1 and 2 s), one missed, a background answer; film_1: one found exactly
TRUTHS = Segments([0, 0, 1], [10, 50, 20], [30, 60, 40], [0, 1, 1])
ANSWERS = Segments([0, 0, 1, 1], [11, 70, 20, 80], [32, 80, 40, 90], [0, 1, 1, 1], [0.9, 0.7, 0.8, 0.1])


def case_of(folder: Path, answers: Segments = ANSWERS, truths: Segments = TRUTHS) -> Case:
    return read_case(*write_files(folder, answers, truths))


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    case = case_of(tmp_path)
    return segment_data(case, score_case(case, (0.5, 0.75)))


def test_the_worst_video_comes_first_and_low_answers_do_not_count_as_errors(data: dict[str, Any]) -> None:
    assert data["least"] == 0.8  # F1 is best without the two false answers
    assert [one["video"] for one in data["timelines"]][:2] == [0, 1]
    assert data["videos"][:2] == [[100, 2, 1, 1, 0], [100, 1, 1, 1, 0]]


def test_the_page_knows_the_rule_of_its_thresholds_and_the_names_of_its_overlaps(
    data: dict[str, Any], tmp_path: Path
) -> None:
    assert data["precision"] is None and data["overlaps"] == ["0.5", "0.75"]
    case = case_of(tmp_path)
    assert segment_data(case, score_case(case, (0.5,), precision=50))["precision"] == 50


def test_timelines_say_what_was_found_and_why_answers_are_false(data: dict[str, Any]) -> None:
    first = data["timelines"][0]
    jump, run = data["classes"].index("jump"), data["classes"].index("run")
    assert first["truths"] == [[10, 30, run, 0.9], [50, 60, jump, None]]
    kinds = [(answer[3], KINDS[answer[4]]) for answer in first["answers"]]
    assert kinds == [(0.9, "right"), (0.7, "background")]


def test_border_errors_are_answer_minus_truth(data: dict[str, Any]) -> None:
    assert data["borders"]["start"] == [1, 0] and data["borders"]["end"] == [2, 0]
    run = data["per_class"][data["classes"].index("run")]
    assert (run["start"], run["end"], run["off"], run["close"]) == (1, 2, 1.5, 0)


def test_curves_hold_precision_and_recall_of_each_right_answer(data: dict[str, Any]) -> None:
    assert data["curves"][0]["score"] == [0.9, 0.8]
    assert data["curves"][0]["recall"] == pytest.approx([100 / 3, 200 / 3], rel=1e-5)
    jump = data["curves"][1 + data["classes"].index("jump")]
    assert jump == {"precision": [100], "recall": [50], "score": [0.8]}


def test_large_tables_are_cut_and_the_page_says_so(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("MOST_VIDEOS", 2), ("MOST_ANSWERS", 3), ("MOST_POINTS", 4)):
        monkeypatch.setattr(segment_page, name, most)
    answers, truths = made_up(rng)
    case = case_of(tmp_path, answers, truths)
    data = segment_data(case, score_case(case, (0.5,)))
    assert len(data["timelines"]) == 2 and len(data["videos"]) == 6
    for one in data["timelines"]:
        total = int((case.answers.video == one["video"]).sum())
        assert len(one["answers"]) == 3 and one["left_out"] == total - 3
        assert [answer[3] for answer in one["answers"]] == sorted((a[3] for a in one["answers"]), reverse=True)
    assert all(len(curve["score"]) <= 4 for curve in data["curves"])


def test_without_a_right_answer_the_page_can_be_made(tmp_path: Path) -> None:
    for answers in (ANSWERS.take([1]), ANSWERS.take([])):
        case = case_of(tmp_path, answers)
        scores = score_case(case, (0.5,))
        assert segment_data(case, scores)["least"] is None
        assert "<title>Segments" in render(case, scores, title="Segments")
