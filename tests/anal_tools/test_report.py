"""The report holds everything in one file, says what the CSV says, and bad input is a sensible page or one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from anal_tools import report_data, report_single
from anal_tools.experiment import open_experiment
from anal_tools.report import main
from anal_tools.report_html import MEGABYTE, STRIP_BUDGET, render
from anal_tools.strips import Strips
from tests.helpers.results import STRANGE, make_config, make_data, make_history, make_results
from tests.helpers.run_tool import run_tool
from utils.config.file import load_config
from utils.errors import UserError
from utils.scoring.result_files import LINES, SCORES, TEXT, read_results, write_results
from utils.torch_file import SUM


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_loads_nothing_and_holds_its_data(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    page = render([open_experiment(tmp_path)])
    assert "default-src 'none'" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)  # plotly.js speaks of maps it could load
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", outside)
    data = data_of(page)
    assert data["classes"] == STRANGE and len(data["experiments"][0]["truth"]) == 60


def test_names_cannot_leave_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    make_results(folder, ["</script><script>alert(1)</script>", "<!--", "&amp;\u2028"], videos=9)
    page = render([open_experiment(folder)])
    assert "<script>alert" not in page and "<img src" not in page
    assert page.count("</script>") == page.count("<script") == 3
    assert data_of(page)["classes"][0].startswith("</script>")


def test_numbers_are_those_of_the_results(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    results = read_results(tmp_path)
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    right = int((results.predicted == results.labels).sum())
    assert one["summary"]["correct"] == right == sum(row[1] for row in one["per_class"])
    assert sum(pair[2] for pair in one["pairs"]) == 60 - right
    assert one["top"][:: one["k"]] == results.predicted.tolist()
    scores = np.array(one["score"]).reshape(60, one["k"])
    assert (np.diff(scores, axis=1) <= 0).all()
    assert [row for row in one["errors"] if results.predicted[row] == results.labels[row]] == []


def test_curves_are_thinned_to_means_and_a_cut_line_is_counted(tmp_path: Path) -> None:
    make_results(tmp_path, ["a", "b"])
    make_history(tmp_path, steps=100_000)
    curves = data_of(render([open_experiment(tmp_path)]))["experiments"][0]["curves"]
    assert curves["broken"] == 1
    train = curves["train"]
    assert len(train["step"]) == len(train["loss"]) <= report_data.MAX_POINTS
    assert np.mean(train["loss"]) == pytest.approx(np.mean(2.0 - np.arange(0, 100_000, 10) / 100_000), rel=1e-3)


@pytest.mark.long
def test_twenty_thousand_videos_stay_under_20_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num, names = 20_000, [f"a class with a rather long name, number {index}" for index in range(400)]
    labels = np.arange(num) % 400
    scores = np.random.default_rng(0).dirichlet(np.full(400, 0.05), num)
    paths = [f"validation/{names[label]}/a_video_with_a_long_name_{i:08d}_000010" for i, label in enumerate(labels)]
    write_results(tmp_path, paths=paths, labels=labels, scores=scores, class_names=names, protocol="")
    make_history(tmp_path, steps=150_000)
    full = Strips(dict.fromkeys(paths[:199], "data:image/jpeg;base64," + "A" * (STRIP_BUDGET // 200)))
    monkeypatch.setattr(report_data, "make_strips", lambda *_, **__: full)
    page = render([open_experiment(tmp_path)])
    assert STRIP_BUDGET < len(page.encode()) < 20 * MEGABYTE


def test_strips_of_the_surest_errors_are_embedded(tmp_path: Path) -> None:
    labels = make_results(tmp_path / "exp", ["a", "b", "c"], sharpness=0.5)
    make_data(tmp_path / "data", read_results(tmp_path / "exp").paths, labels)
    make_config(tmp_path / "exp", tmp_path / "data", 3)
    one = data_of(render([open_experiment(tmp_path / "exp")]))["experiments"][0]
    shown = {str(row) for row in one["errors"] + one["right"]}
    assert one["errors"] and one["right"] and shown <= one["strips"].keys() == one["strip_frames"].keys()
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in one["strips"].values())
    assert one["strip_note"] == "" and one["config_problem"] is None
    assert ["common.batch_size", "4", "config.yaml:4"] in one["config"] and one["run"] == []


def test_the_least_sure_and_the_surest_right_answer_of_each_class_are_shown() -> None:
    results = SimpleNamespace(
        labels=np.array([0, 0, 0, 1, 1, -1, 2]),
        predicted=np.array([0, 0, 0, 1, 0, 1, 1]),
        top_scores=np.array([0.9, 0.4, 0.6, 0.3, 0.1, 0.2, 0.5]),
    )
    # of class 1 only one answer is right, of class 2 none, and one video has no label
    assert report_single.right_answers(SimpleNamespace(results=results)) == [3, 1, 0]


def test_a_report_shows_what_ran(tmp_path: Path) -> None:
    make_results(tmp_path, ["a", "b"])
    make_config(tmp_path, tmp_path / "data", 2, batch_size=9)
    about = {
        "step": 0, "command": "main.py --config x common.batch_size=8", "began": "2026-01-02", "commit": "abc",
        "code": "1", "machine": "host", "device": "cpu", "processes": 1, "versions": {"torch": "2.6"},
        "parameters": 1234567, "gmacs": 1.5, "gmacs_clip": [8, 224, 224], "values": {"common.batch_size": 8},
        "set": {"common.batch_size": "command line"}, "config": load_config(tmp_path / "config.yaml").raw,
    }  # fmt: skip
    (tmp_path / "runs.jsonl").write_text(json.dumps(about) + "\n")
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 0, "seconds": 3600}\n')
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    assert one["config"] == [["common.batch_size", "8", "command line"]]
    shown = dict(one["run"])
    assert shown["Command"] == about["command"] and shown["Training took"] == "1:00:00"
    assert shown["Parameters"] == "1,234,567" and shown["Machine"] == "host, cpu, 1 process(es)"
    assert shown["GMACs per view"] == "1.500 at 8 x 224 x 224 (frames x height x width)"


def test_text_results_alone_make_a_page(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    for name in (SCORES, LINES):
        (tmp_path / name).unlink()
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    assert one["k"] == 1 and one["summary"]["top5"] is None and one["calibration"]["nll"] is None


def test_several_experiments_are_compared_on_a_page_beside_the_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_results(tmp_path / name, ["a", "b"], seed=len(name))
    assert not run_tool("report", "-e", tmp_path / "one", tmp_path / "two", folder="anal_tools").stderr
    assert len(data_of((tmp_path / "one/analysis/comparison.html").read_text())["comparisons"]) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no results yet"),
        ("v1 0.5 1 1\nv2 0.", "cut off"),
        ("v1 nan 1 1\n", "a score that is not a number"),
        ("v1 0.5 1 -1\n", "no video has a label"),
    ],
)
def test_bad_results_are_one_line_and_no_page(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / TEXT).write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        main(["-e", str(tmp_path)])
    assert "\n" not in str(caught.value) and not (tmp_path / "analysis").exists()


def test_the_page_is_written_where_asked(tmp_path: Path) -> None:
    make_results(tmp_path / "exp", ["a", "b"], videos=1)
    assert main(["-e", str(tmp_path / "exp"), "-o", str(tmp_path / "new/page.html")]) == 0
    assert (tmp_path / "new/page.html").stat().st_size < 6 * MEGABYTE


def test_the_page_begins_with_the_notes_that_are_given(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    (tmp_path / "notes.txt").write_text("# Chosen\n\n  5 folds: </script> few videos\n")
    assert main(["-e", str(tmp_path), "--notes", str(tmp_path / "notes.txt"), "-o", str(tmp_path / "page.html")]) == 0
    assert data_of((tmp_path / "page.html").read_text())["notes"] == ["# Chosen", "5 folds: </script> few videos"]
    assert data_of(render([open_experiment(tmp_path)]))["notes"] == []
    with pytest.raises(UserError, match=r"--notes .*none\.txt: cannot be read as text"):
        main(["-e", str(tmp_path), "--notes", str(tmp_path / "none.txt")])


def test_what_the_test_for_time_found_is_a_section_and_another_file_is_refused(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    assert data_of(render([open_experiment(tmp_path)]))["experiments"][0]["litmus"] is None
    found = {"videos": 3, "protocol": "1 clip", "right": {"as it is": 50.0}, "classes": []}
    (tmp_path / "litmus.json").write_text(json.dumps(found))
    assert data_of(render([open_experiment(tmp_path)]))["experiments"][0]["litmus"] == found
    torch.save({"step": 7, "state_dict": {}, SUM: 1}, tmp_path / "ckpt_best.pth.tar")
    for known, note in (({"step": 7, "sum": 1}, None), ({"step": 5, "sum": 2}, "step 5 and step 7"), ({}, "unknown")):
        (tmp_path / "litmus.json").write_text(json.dumps(found | known))
        said = data_of(render([open_experiment(tmp_path)]))["experiments"][0]["litmus"].get("note")
        assert said is None if note is None else note in said
    for wrong in ("{}", "[", "[]"):
        (tmp_path / "litmus.json").write_text(wrong)
        with pytest.raises(UserError, match=r"litmus\.json: .* what tools\.litmus writes"):
            render([open_experiment(tmp_path)])
