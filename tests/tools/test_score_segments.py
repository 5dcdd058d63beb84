"""`tools.score_segments` prints and writes the scores, and says what it cannot score."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools.segment_input import read_case
from anal_tools.segment_scores import numbers, score_case
from datasets.spans.files import read_spans, write_spans
from tests.helpers.run_tool import run_tool
from tests.helpers.segments import NAMES, made_up, write_files
from utils.errors import UserError
from utils.scoring.segments.detection import score_detection
from utils.scoring.segments.matching import THUMOS, match_by_overlap
from utils.segments.table import Segments

TRUTHS = Segments([0, 1], [10, 20], [20, 40], [0, 1])
ANSWERS = Segments([0, 1, 1], [10, 22, 50], [20, 40, 60], [0, 1, 1], [0.9, 0.8, 0.3])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_files(tmp_path, ANSWERS, TRUTHS)


def change(path: Path, edit: Any) -> None:
    """Edits a file's content, or its text."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_the_numbers_are_those_of_the_functions(tmp_path: Path, rng: np.random.Generator) -> None:
    answers, truths = made_up(rng)
    answers = Segments(answers.video, np.clip(answers.start, 0, None), answers.end, answers.label, answers.score)
    truth, answer = write_files(tmp_path, answers, truths)
    printed = run_tool("score_segments", truth, answer, "--tiou", "thumos", "--json", tmp_path / "out.json").stdout
    # files are read video by video and in the order of time, which decides between equal scores
    answers, truths = (table.take(np.lexsort((table.end, table.start, table.video))) for table in (answers, truths))
    expected = score_detection(answers, truths, match_by_overlap(answers, truths, THUMOS), num_class=3, num_videos=6)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["scores"]["mAP@0.5"]["value"] == pytest.approx(expected.mean[2])
    assert found["scores"]["mAP, mean over tIoU"]["low"] == pytest.approx(expected.average_low)
    assert f"{expected.average:.2f}" in printed and "F1@50" not in printed
    by_name = sorted(range(3), key=lambda label: NAMES[label])
    assert list(found["classes"]) == [NAMES[label] for label in by_name]
    for name, label in zip(found["classes"], by_name, strict=True):
        assert found["classes"][name]["ap"] == pytest.approx(expected.precision[:, label])


def test_the_errors_of_borders_are_medians_over_right_answers(files: tuple[Path, Path], tmp_path: Path) -> None:
    printed = run_tool("score_segments", *files, "--tiou", "0.5", "--json", tmp_path / "out.json").stdout
    assert "median absolute error: start 1.00 s, end 0.00 s, both 0.00 s" in printed  # starts are 0 and 2 s late
    assert json.loads((tmp_path / "out.json").read_text())["borders"] == {"start": 1.0, "end": 0.0, "both": 0.0}


def test_a_format_that_holds_the_same_gives_the_same_numbers(files: tuple[Path, Path], tmp_path: Path) -> None:
    tables = [write_spans(read_spans([file]), tmp_path / f"{file.stem}.csv", "csv")[0] for file in files]
    frames = tmp_path / "frames.csv"
    frames.write_text("video,label,start_frame,end_frame\nfilm_0,run,100,200\nfilm_1,jump,200,400\n")
    found = []
    for truth, answer, *fps in (files, tables, (frames, files[1], "--fps", 10)):
        run_tool("score_segments", truth, answer, *fps, "--json", tmp_path / "out.json")
        found.append(json.loads((tmp_path / "out.json").read_text())["scores"])
    assert found[0] == found[1] and found[0]["mAP@0.75"]["value"] == found[2]["mAP@0.75"]["value"]


def test_labels_over_time_are_scored_with_a_background(files: tuple[Path, Path], tmp_path: Path) -> None:
    options = ["--background", "nothing", "--json", tmp_path / "out.json"]
    run_tool("score_segments", *files, *options)
    every = json.loads((tmp_path / "out.json").read_text())["scores"]
    run_tool("score_segments", *files, *options, "--least-score", 0.5)
    best = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert every["F1@50"]["value"] == pytest.approx(100 * 4 / 5) and best["F1@50"]["value"] == 100
    # six films of 100 s: 2 s of film_1 are missed, and 10 s wrong
    assert every["frame accuracy"]["value"] == pytest.approx(100 * 588 / 600)
    assert best["frame accuracy without background"]["value"] == pytest.approx(100 * 28 / 30)


def test_only_answers_may_have_segments_of_the_background(files: tuple[Path, Path], tmp_path: Path) -> None:
    change(files[1], lambda content: content["results"]["film_1"][1].update(label="none", score=None))
    printed = run_tool("score_segments", *files, "--background", "none", "--json", tmp_path / "out.json").stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["answers"] == 2 and list(found["classes"]) == ["jump", "run"] and found["notes"] == []
    assert "2 classes, 2 true segments, 2 answers" in printed and found["scores"]["F1@50"]["value"] == 100


def test_the_answer_that_sets_a_threshold_still_counts(files: tuple[Path, Path], tmp_path: Path) -> None:
    score = 0.77777777777777771  # ten digits would be above it
    change(files[1], lambda content: content["results"]["film_1"][0].update(score=score))
    run_tool("score_segments", *files, "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["classes"]["jump"]["threshold"] == score


def test_answers_do_not_make_a_video_longer_whose_duration_is_unknown(files: tuple[Path, Path]) -> None:
    for unknown in (None, 0):
        change(files[0], lambda content, value=unknown: content["database"]["film_1"].update(duration=value))
        case = read_case(*files)
        assert case.durations == (100, 40, 100, 100, 100, 100)  # an answer ends at 60
        assert case.notes == (
            "videos without a duration in the truth: 1; the last end of their true segments is taken",
        )
    change(files[0], lambda content: content["database"]["film_0"].pop("duration"))
    assert read_case(*files, background="run").durations[0] == 20  # the background tells a length, too


def test_overlaps_that_are_close_have_names_of_their_own(files: tuple[Path, Path]) -> None:
    scores = score_case(read_case(*files), (0.33333, 0.33334, 0.5))
    assert scores.overlaps == ["0.33333", "0.33334", "0.5"] and {"mAP@0.33333", "mAP@0.5"} <= numbers(scores).keys()
    assert score_case(read_case(*files), THUMOS).overlaps == ["0.3", "0.4", "0.5", "0.6", "0.7"]


@pytest.mark.parametrize("option", ["--json", "--page"])
def test_a_place_that_no_file_can_have_is_refused_before_anything_is_read(tmp_path: Path, option: str) -> None:
    for place, message in (("no/x", "its folder does not exist"), (".", "is a folder; name a file")):
        error = run_tool("score_segments", "no truth", "no answer", option, tmp_path / place, code=2).stderr
        assert message in error and len(error.splitlines()) == 1


def test_segments_of_the_background_class_are_no_segments_to_find(files: tuple[Path, Path], tmp_path: Path) -> None:
    run_tool("score_segments", *files, "--background", NAMES[1], "--json", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["true_segments"], found["answers"]) == (1, 1) and found["scores"]["mAP@0.5"]["value"] == 100


def test_what_only_one_side_has_is_said(files: tuple[Path, Path]) -> None:
    def rename(content: Any) -> None:
        content["results"]["elsewhere"] = content["results"].pop("film_0")

    change(files[1], rename)
    change(files[0], lambda content: content["database"]["film_5"].update(subset="training", duration=None))
    printed = run_tool("score_segments", *files, "--subset", "validation").stdout
    assert "videos without answers, whose segments count as missed: 1 (film_0)" in printed
    assert "videos of the answers that are not in the truth and are left out: 1 (elsewhere)" in printed
    assert "videos of the answers that are in other subsets and are left out: 1 (film_5)" in printed
    assert "5 videos, 2 classes, 2 true segments, 2 answers" in printed
    assert "without a duration" in run_tool("score_segments", *files).stdout


def set_answer(**values: Any) -> Any:
    return lambda content: content["results"]["film_1"][1].update(values)


def set_duration(value: float) -> Any:
    return lambda content: content["database"]["film_1"].update(duration=value)


@pytest.mark.parametrize(
    ("side", "edit", "options", "message"),
    [
        (1, set_answer(label="jmup"), [], "answer.json: class 'jmup' is not in .*truth.json; perhaps 'jump' is meant"),
        (1, set_answer(score=None), [], "answer.json: film_1: an answer has no score"),
        (1, set_answer(score=math.nan), [], "answer.json: film_1: score nan is not a number"),
        (1, set_answer(segment=[60, 50]), [], "answer.json: film_1, from 60 to 50 s: it ends before it starts"),
        (1, set_answer(segment=[60]), [], "answer.json: film_1: "),
        (1, set_answer(segment="12"), [], "answer.json: film_1: .*'12' is no list of a start and an end"),
        (1, set_answer(segment=[0, 10**400]), [], "answer.json: film_1: end 10+... is not a time"),
        (1, set_answer(segment=[True, 60]), [], "answer.json: film_1: start True is not a time"),
        (1, set_answer(score=True), [], "answer.json: film_1: score True is not a number"),
        *(
            (0, set_duration(value), [], f"truth.json: film_1: duration .*{message}")
            for value, message in (
                (-5, "is below 0"),
                (math.inf, "is not a"),
                (math.nan, "is not a"),
                (10**400, "is not"),
            )
        ),
        (0, lambda content: None, ["--least-score", "0.5"], "--least-score is for labels over time: add --background"),
        (0, lambda content: None, ["--background", "no", "--least-score", "nan"], "nan is not a finite number"),
        (0, lambda content: None, ["--precision", "150"], "150 is not a number above 0 and up to 100"),
        (1, lambda content: content.pop("results"), [], "answer.json: has no known format"),
        (1, lambda content: content.update(results={"v_film": []}), [], "no video of it is in .*v_film; the truth"),
        (0, lambda content: None, ["--subset", "test"], "no video of subset 'test'; it has validation"),
        (0, lambda content: None, ["--tiou", "coco"], "--tiou coco: give numbers above 0"),
        (0, lambda content: None, ["--tiou", "0.5", "1.5"], "--tiou 0.5 1.5: give numbers above 0"),
        (0, lambda content: None, ["--background", "nothing", "--subset", ""], "no video of subset ''"),
    ],
)
def test_what_cannot_be_scored_is_an_error_of_one_line(
    files: tuple[Path, Path], tmp_path: Path, side: int, edit: Any, options: list[str], message: str
) -> None:
    change(files[side], edit)
    output = tmp_path / "out.json"
    error = run_tool("score_segments", *files, "--json", output, *options, code=2).stderr
    assert len(error.splitlines()) == 1 and re.search(message, error), error
    assert not output.exists()


def test_a_file_that_is_no_json_and_a_truth_without_segments_are_errors(files: tuple[Path, Path]) -> None:
    files[1].write_text('{"results": ')
    assert (
        "answer.json: begins like JSON but cannot be read as such" in run_tool("score_segments", *files, code=2).stderr
    )
    write_files(files[0].parent, ANSWERS.take([]), TRUTHS.take([]))
    assert "nothing to find" in run_tool("score_segments", *files, code=2).stderr


def test_a_truth_without_length_is_said_and_counts(tmp_path: Path) -> None:
    files = write_files(tmp_path, ANSWERS, Segments([0, 1, 2], [10, 20, 5], [20, 40, 5], [0, 1, 1]))
    assert "true segments without a length: 1" in run_tool("score_segments", *files).stdout


@pytest.mark.parametrize(("start", "end"), [(2.0, 99.0), (-1.0, 4.0)])
def test_a_truth_that_leaves_its_video_is_said_and_counts(tmp_path: Path, start: float, end: float) -> None:
    truth, answer = tmp_path / "t.csv", tmp_path / "a.csv"
    truth.write_text(f"video,label,start,end,duration\nv,x,1,2,10\nv,x,{start},{end},10\nw,x,8,10.02,10\n")
    answer.write_text("video,label,start,end,score\nv,x,1,2,0.5\n")
    assert (
        f"or end behind it: 1, the first in {truth}:3; they count" in run_tool("score_segments", truth, answer).stdout
    )


def test_a_folder_and_a_pattern_are_files_that_count_together(files: tuple[Path, Path], tmp_path: Path) -> None:
    table = read_spans([files[0]])
    write_spans(table, tmp_path / "truth", "elan")
    (tmp_path / "truth/.hidden").write_text("not read")
    for truth in (tmp_path / "truth", tmp_path / "truth/*.eaf"):
        case = read_case(truth, files[1])
        one = read_case(*files)
        assert case.names == one.names and len(case.truths) == len(one.truths)
        np.testing.assert_allclose(np.sort(case.truths.start), np.sort(one.truths.start), atol=1e-3)
    with pytest.raises(UserError, match="there is no file in it, or no file matches it"):
        read_case(tmp_path / "*.txt", files[1])


def test_files_of_one_side_that_disagree_are_an_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for name, end in (("a", 2), ("b", 3)):
        (tmp_path / f"two/{name}.csv").write_text(f"video,label,start,end\nfilm_0,run,1,{end}\n")
    with pytest.raises(UserError, match=r"a.csv and .*b.csv disagree about film_0"):
        read_case(tmp_path / "two", files[1])
