"""A report about a list of spans: timelines and numbers of its spans, and answers with times scored against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anal_tools.experiment import open_experiment
from anal_tools.report import main
from anal_tools.report_html import render
from anal_tools.span_report import span_data
from datasets.lists.spans import NamedSpan, read_mark, span_mark
from tests.anal_tools.test_report import data_of
from tests.helpers.results import make_config
from tests.helpers.segments import make_span_results
from utils.errors import UserError
from utils.scoring.result_files import write_results

NAMES = ["jump", "run", "nothing"]


def results(folder: Path, rows: list[tuple[str, Any, list[float]]]) -> Path:
    """An experiment of these rows: name, label, scores."""
    folder.mkdir(exist_ok=True)
    paths, labels, scores = zip(*rows, strict=True)
    write_results(folder, paths=paths, labels=labels, scores=scores, class_names=NAMES, protocol="p")
    return folder


def spans_of(folder: Path) -> dict[str, Any]:
    found = span_data(open_experiment(folder))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name", ["a b/c#t=1.mp4#t=1.5,4", "v#t=0,0.000001", "v#frames=30,90", "x\ny#t=1,1000000000000"]
)
def test_the_mark_of_a_span_is_read_as_it_is_written(name: str) -> None:
    path, start, end, in_frames = found = read_mark(name)
    assert path + span_mark((start, end), frames=in_frames) == name
    assert found == NamedSpan(*found)


def test_a_name_without_a_mark_is_a_whole_video() -> None:
    assert [read_mark(name) for name in ("v.mp4", "v#t=1", "v#t=,2", "v#t=1,2,", "v#x=1,2")] == [None] * 5


def test_spans_are_counted_by_class_and_video_and_weighed_by_their_length(tmp_path: Path) -> None:
    rows = [
        ("a#t=0,2", 0, [0.9, 0.1, 0]),
        ("a#t=2,8", 0, [0.3, 0.7, 0]),
        ("b#t=0,1", 1, [0.2, 0.8, 0]),
        ("b#t=1,3", -1, [0.6, 0.4, 0]),
        ("whole", 1, [0.1, 0.9, 0]),
    ]
    found = spans_of(results(tmp_path, rows))
    assert [path for path, _ in found["videos"]] == ["a", "b"] and found["whole"] == 1 and not found["in_frames"]
    jump = {"true": 2, "found": 1, "false": 0, "share": 50, "length": 8, "length_share": 25}
    assert found["classes"][0] == jump | {"median_found": 2, "median_missed": 6}
    assert (found["classes"][1]["true"], found["classes"][1]["false"]) == (1, 1)
    assert found["classes"][2]["share"] is None
    assert found["videos"][0][1]["false"] == 1 and found["videos"][1][1]["false"] == 0
    first, second = found["timelines"]
    assert first["truths"] == [[0, 2, 0, pytest.approx(0.9)], [2, 8, 0, None]]
    assert [answer[4] for answer in first["answers"]] == [0, 1]
    assert second["answers"][1] == [1, 3, 0, pytest.approx(0.6), 2] and len(second["truths"]) == 1


def test_several_classes_of_a_span_are_lanes_of_their_own(tmp_path: Path) -> None:
    rows = [
        ("a#frames=0,30", [1, 1, 0], [0.9, 0.2, 0.8]),
        ("b#frames=5,9", [0, 0, 0], [0.1, 0.1, 0.1]),
        ("b#frames=9,12", [-1, -1, -1], [0.9, 0.1, 0.1]),
    ]
    found = spans_of(results(tmp_path, rows))
    first, second = found["timelines"]
    assert found["in_frames"] and [one[2] for one in first["truths"]] == [0, 1]
    assert [(one[2], one[4]) for one in first["answers"]] == [(0, 0), (2, 1)]
    assert second["truths"] == [] and [one[4] for one in second["answers"]] == [2]


def test_a_list_of_whole_videos_has_no_timelines(tmp_path: Path) -> None:
    folder = results(tmp_path, [("a", 0, [1, 0, 0])])
    assert span_data(open_experiment(folder)) is None
    assert data_of(render([open_experiment(folder)]))["experiments"][0]["spans"] is None


def answers(folder: Path, results: dict[str, Any]) -> Path:
    file = folder / "answer.json"
    file.write_text(json.dumps({"results": results}))
    return file


def test_answers_with_times_are_scored_against_the_spans_of_the_list(tmp_path: Path) -> None:
    rows = [("x/a.mp4#t=1,3", 0, [1, 0, 0]), ("x/a.mp4#t=4,8", 1, [0, 1, 0]), ("x/b.mp4#t=2,3", -1, [0, 1, 0])]
    folder = results(tmp_path / "exp", rows)
    said = {"a": [{"segment": [1.25, 3.5], "label": "jump", "score": 0.9}], "b.mp4": []}
    page = data_of(render([open_experiment(folder)], segments=answers(tmp_path, said)))
    found = page["segments"]
    assert found["paths"] == ["x/a.mp4"] and found["classes"] == NAMES
    assert found["borders"]["start"] == [0.25] and found["borders"]["end"] == [0.5]
    assert found["numbers"]["mAP@0.5"][0] == 50
    assert found["timelines"][0]["truths"] == [[1, 3, 0, 0.9], [4, 8, 1, None]]


def test_background_that_the_config_draws_is_nothing_to_find(tmp_path: Path) -> None:
    rows = [("a#frames=10,30", 0, [1, 0, 0]), ("a#frames=40,80", 2, [0, 0, 1])]
    folder = results(tmp_path / "exp", rows)
    file = answers(tmp_path, {"a": [{"segment": [1, 3], "label": "jump", "score": 0.9}]})
    with pytest.raises(UserError, match=r"its list counts frames, and data.fps is not set; score them with"):
        main(["-e", str(folder), "--segments", str(file)])
    make_config(folder, tmp_path, 3)
    with (folder / "config.yaml").open("a") as config:
        config.write("  data: {fps: 10, background: {per_span: 1, label: nothing}}\n")
    found = data_of(render([open_experiment(folder)], segments=file))["segments"]
    assert found["classes"] == ["jump", "run"] and found["borders"] == found["borders"] | {"start": [0], "end": [0]}


def test_answers_that_do_not_fit_are_said(tmp_path: Path) -> None:
    whole = results(tmp_path / "whole", [("a", 0, [1, 0, 0])])
    spans = results(tmp_path / "spans", [("x/a.mp4#t=1,3", 0, [1, 0, 0])])
    file = answers(tmp_path, {"a": [], "x/a.mp4": []})
    with pytest.raises(UserError, match="the list of its results has no spans"):
        main(["-e", str(whole), "--segments", str(file)])
    with pytest.raises(UserError, match="--segments is for the report of one experiment"):
        main(["-e", str(spans), str(spans), "--segments", str(file)])
    with pytest.raises(UserError, match=r"are both x/a.mp4; leave one of them out"):
        main(["-e", str(spans), "--segments", str(file)])
    file = answers(tmp_path, {"a": [{"segment": [1, 3], "label": "jmup", "score": 0.9}]})
    with pytest.raises(UserError, match=r"class 'jmup' is not in .*; perhaps 'jump' is meant"):
        main(["-e", str(spans), "--segments", str(file)])


def test_the_worst_videos_come_first(tmp_path: Path) -> None:
    make_span_results(tmp_path, np.random.default_rng(0))
    found = spans_of(tmp_path)
    errors = [len(one["truths"]) - sum(truth[3] is not None for truth in one["truths"]) for one in found["timelines"]]
    assert len(found["videos"]) == 5 and errors == sorted(errors, reverse=True) and errors[0] > 0
