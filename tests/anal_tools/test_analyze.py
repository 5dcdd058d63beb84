"""analyze.py: its files agree with the results, it runs both ways, and bad input is one line."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from anal_tools.analysis import summary
from anal_tools.analyze import main
from anal_tools.experiment import open_experiment
from tests.helpers.results import STRANGE, make_config, make_data, make_results
from tests.helpers.run_tool import run_tool, start_tool
from utils.scoring.metrics import topk_accuracy
from utils.scoring.result_files import LINES, SCORES, TEXT, read_results


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "names",
    [
        ["only"],
        ["a", "b"],
        STRANGE,
        pytest.param([f"class number {i}" for i in range(152)], marks=pytest.mark.long),
    ],
)
def test_totals_of_every_file_equal_the_results(tmp_path: Path, names: list[str]) -> None:
    make_results(tmp_path, names, videos=3 * len(names))
    assert main(["-e", str(tmp_path)]) == 0
    results = read_results(tmp_path)
    assert results.scores is not None
    wrong = int((results.predicted != results.labels).sum())
    matrix = rows_of(tmp_path / "analysis/confusion.csv")
    counts = np.array([[int(cell) for cell in row[1:]] for row in matrix[1:]])
    assert matrix[0][1:] == names and [row[0] for row in matrix[1:]] == names
    assert counts.sum() == len(results) and np.trace(counts) == len(results) - wrong
    classes = rows_of(tmp_path / "analysis/per_class.csv")
    assert sum(int(row[2]) for row in classes[1:]) == len(results)
    assert sum(int(row[3]) for row in classes[1:]) == len(results) - wrong
    errors = (tmp_path / "analysis/top100_errors.txt").read_text().splitlines()
    assert errors[0].split("\t") == ["gt", "pred", "count", "class_accuracy", "error_share", "samples"]
    assert sum(int(line.split("\t")[2]) for line in errors[1:]) == wrong or len(errors) == 101
    picture = cv2.imread(str(tmp_path / "analysis/confusion.png"))
    assert picture is not None and min(picture.shape[:2]) > 300


def test_top_errors_have_the_seeds_columns(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_text(
        "a/v 1 0.90 1 0\na/v 2 0.80 1 0\na/v 3 0.70 0 0\nb/v 4 0.60 0 1\nb/v 5 0.99 1 1\nc/v 6 0.50 2 -1\n"
    )
    main(["-e", str(tmp_path)])
    lines = (tmp_path / "analysis/top100_errors.txt").read_text().splitlines()[1:]
    assert lines == ["0\t1\t2\t33.33\t66.67\ta/v 1 | a/v 2", "1\t0\t1\t50.00\t33.33\tb/v 4"]


def test_summary_has_both_accuracies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / TEXT).write_text("v1 0.9 1 0\nv2 0.8 1 0\nv3 0.7 0 0\nv4 0.6 0 1\n")
    (tmp_path / "pairs.txt").write_text("0 1\n")
    main(["-e", str(tmp_path), "--forgive", str(tmp_path / "pairs.txt")])
    said = capsys.readouterr().out
    assert " 25.00 %  1 of 4" in said
    assert " 75.00 %  3 of 4: 2 errors are among the 1 forgiven" in said
    assert "mean class accuracy   16.67 %" in said


def test_accuracy_equals_the_metric_of_the_evaluation(tmp_path: Path) -> None:
    make_results(tmp_path, STRANGE)
    results = read_results(tmp_path)
    said = summary(open_experiment(tmp_path))
    assert f"{topk_accuracy(results.scores, results.labels):6.2f} %" in said[1]
    assert f"{topk_accuracy(results.scores, results.labels, k=5):6.2f} %" in said[2]


def test_class_names_come_from_the_class_file_when_the_results_have_none(tmp_path: Path) -> None:
    names = ["walk", "run far", "jump"]
    labels = make_results(tmp_path / "exp", names, videos=9)
    make_data(tmp_path / "data", [f"v{i}" for i in range(9)], labels)
    (tmp_path / "data/lists/calssInd.txt").write_text("1 walk\n2 run far\n3 jump\n")
    make_config(tmp_path / "exp", tmp_path / "data", 3)
    for name in (SCORES, LINES):
        (tmp_path / "exp" / name).unlink()
    assert open_experiment(tmp_path / "exp").class_names == names


def test_a_config_is_not_needed_and_a_wrong_one_not_fatal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / TEXT).write_text("v1 0.9 1 0\n")
    (tmp_path / "config.yaml").write_text("common: {modell: 1}\n")
    assert main(["-e", str(tmp_path)]) == 0
    assert "warning: " in (warning := capsys.readouterr().err) and "modell" in warning and warning.count("\n") == 1


@pytest.mark.whole
@pytest.mark.parametrize("as_module", [False, pytest.param(True, marks=pytest.mark.long)])
def test_runs_as_file_and_as_module_without_a_warning(tmp_path: Path, as_module: bool) -> None:
    make_results(tmp_path, ["a", "b"])
    # torch 2.6 forgets a folder of its own
    strict = "ignore::ResourceWarning" if torch.__version__.startswith("2.6.") else "error"
    done = start_tool("analyze", "-e", tmp_path, folder="anal_tools", as_module=as_module, warnings=strict)
    assert "mean class accuracy" in done.stdout and not done.stderr


def test_a_users_mistake_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = run_tool("analyze", "-e", tmp_path, folder="anal_tools", code=2)
    assert done.stderr.count("\n") == 1 and "get_reference_results.py -e" in done.stderr and not done.stdout


def test_unlabelled_videos_alone_cannot_be_analysed(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_text("v1 0.9 1 -1\n")
    assert "no video has a label" in run_tool("analyze", "-e", tmp_path, folder="anal_tools", code=2).stderr
    assert not (tmp_path / "analysis").exists()
