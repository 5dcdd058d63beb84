"""The report of videos with several classes each says what analyze.py says, and its parts agree with each other."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from anal_tools import analyze, report_data, report_multi
from anal_tools.compare_multi import compare_precision
from anal_tools.experiment import open_experiment
from anal_tools.report import main
from anal_tools.report_html import MEGABYTE, STRIP_BUDGET, render
from anal_tools.strips import Strips
from tests.anal_tools.test_report import data_of
from tests.helpers.results import STRANGE, make_config, make_data, make_history, make_results, make_sets
from utils.errors import UserError
from utils.scoring.average_precision import average_precision, mean_average_precision
from utils.scoring.label_sets import in_text
from utils.scoring.result_files import SCORES, read_results, write_results


def test_numbers_are_those_of_the_csv(tmp_path: Path) -> None:
    labels = make_sets(tmp_path, STRANGE)
    analyze.main(["-e", str(tmp_path)])
    with (tmp_path / "analysis/per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = data_of(render([open_experiment(tmp_path)]))
    one, place = page["experiments"][0], page["experiments"][0]["answers"]["thresholds"].index(page["threshold"])
    assert page["multi_label"] and [row[0] for row in one["per_class"]] == [int(row["videos"]) for row in rows]
    for numbers, row in zip(one["per_class"], rows, strict=True):
        assert numbers[1] == pytest.approx(float(row["average_precision"]), abs=1e-3)
        assert numbers[2] < numbers[1] < numbers[3] and numbers[4] == pytest.approx(float(row["chance"]), abs=1e-3)
    assert [counts[place] for counts in one["answers"]["predicted"]] == [int(row["predicted"]) for row in rows]
    summary, results = one["summary"], read_results(tmp_path)
    assert summary["mAP"] == pytest.approx(mean_average_precision(results.scores, labels))
    assert summary["low"] < summary["mAP"] < summary["high"] and summary["labels"] == labels.sum()
    right = sum(counts[place] for counts in one["answers"]["right"])
    assert summary["recall"] == pytest.approx(100 * right / labels.sum())
    assert sum(one["calibration"]["videos"]) == labels.size
    assert sum(sum(of["videos"]) for of in one["calibration"]["classes"]) == labels.size


def test_the_listed_classes_of_a_video_include_all_its_wrong_answers(tmp_path: Path) -> None:
    labels = make_sets(tmp_path, STRANGE, sharpness=0.5)
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    for row, truth in enumerate(one["truth"]):
        listed = dict(zip(one["listed"][row][::2], one["listed"][row][1::2], strict=True))
        assert truth == np.flatnonzero(labels[row]).tolist() and set(truth) <= listed.keys()
        assert one["wrong"][row] == sum((units >= 5000) != (label in truth) for label, units in listed.items())
        assert list(listed.values()) == sorted(listed.values(), reverse=True)
    assert one["errors"] and all(one["wrong"][row] for row in one["errors"])


def test_pairs_of_classes_are_counted(tmp_path: Path) -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    scores = np.array([[0.9, 0.9, 0.1], [0.9, 0.8, 0.1], [0.9, 0.2, 0.1], [0.1, 0.7, 0.4]])
    paths = [f"v{row}" for row in range(4)]
    write_results(tmp_path, paths=paths, labels=truth, scores=scores, class_names=list("abc"), protocol="")
    experiment = open_experiment(tmp_path)
    assert report_multi.shown_together(experiment) == [[0, 1, 1, 2, 1]]
    # b is wrongly predicted in one of two videos that show a, and in the one video that shows neither
    assert report_multi.falsely_predicted_with(experiment) == [[0, 1, 1, 50.0, 0.5], [2, 1, 1, 100.0, 2.0]]
    assert [experiment.results.paths[row] for row in report_multi.worst_videos(experiment)] == ["v1", "v3"]
    same = [row[0] for row in report_multi._per_class(experiment)]
    assert same == [3, 1, 1]


def test_an_answer_near_the_threshold_stays_on_its_side(tmp_path: Path) -> None:
    scores = np.array([[0.49999, 0.5], [0.50001, 0.4]], np.float32)
    write_results(tmp_path, paths=["a", "b"], labels=[[1, 0], [0, 1]], scores=scores, class_names=None, protocol="")
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    assert one["listed"] == [[1, 5000, 0, 4999], [0, 5000, 1, 4000]] and one["wrong"] == [2, 2]


def test_a_comparison_pairs_the_videos(tmp_path: Path) -> None:
    labels = make_sets(tmp_path / "one", STRANGE, videos=80, sharpness=1)
    make_sets(tmp_path / "two", STRANGE, videos=60, seed=4, sharpness=3)
    one, two = open_experiment(tmp_path / "one"), open_experiment(tmp_path / "two")
    same = compare_precision(one, one)
    assert (same.videos, same.unpaired, same.mean, same.mean_low, same.mean_high) == (80, 0, 0, 0, 0)
    assert same.fixed == same.broken == 0 and same.flips == []
    found = compare_precision(one, two)
    assert one.results.scores is not None and two.results.scores is not None
    common = [row for row in range(60) if np.array_equal(labels[row], two.results.labels[row])]
    assert found.videos == len(common) and found.unpaired == 140 - 2 * len(common)
    assert found.before == pytest.approx(average_precision(one.results.scores[common], labels[common]))
    assert found.mean_low < found.mean < found.mean_high and found.mean_low > 0
    wrong = [(of.results.scores[common] >= 0.5) != labels[common] for of in (one, two)]  # type: ignore[index]
    assert found.fixed - found.broken == wrong[0].sum() - wrong[1].sum()
    changes = [abs(before - after) for *_, before, after in found.flips]
    assert changes == sorted(changes, reverse=True)


def test_one_class_each_and_sets_of_classes_are_not_compared(tmp_path: Path) -> None:
    make_results(tmp_path / "one", STRANGE)
    make_sets(tmp_path / "two", STRANGE)
    with pytest.raises(UserError, match="one has one label per video and the other several"):
        main(["-e", str(tmp_path / "one"), str(tmp_path / "two")])


def test_without_scores_no_class_is_ranked(tmp_path: Path) -> None:
    make_sets(tmp_path, STRANGE)
    (tmp_path / SCORES).unlink()
    with pytest.raises(UserError, match=f"no {SCORES}, which is needed to rank the videos of a class"):
        main(["-e", str(tmp_path)])
    assert not (tmp_path / "analysis").exists()


@pytest.mark.parametrize("videos", [1, 2])
def test_few_videos_and_unknown_or_unseen_classes_make_a_page(tmp_path: Path, videos: int) -> None:
    labels = np.array([[0, 0], [-1, -1]])[:videos]
    scores = np.full((videos, 2), 0.3)
    write_results(tmp_path, paths=["a", "b"][:videos], labels=labels, scores=scores, class_names=None, protocol="")
    one = data_of(render([open_experiment(tmp_path)]))["experiments"][0]
    assert one["summary"]["mAP"] is None and one["summary"]["low"] is None and one["summary"]["recall"] is None
    assert one["truth"] == [[], None][:videos] and one["errors"] == []


def test_strips_and_curves_are_those_of_its_kind(tmp_path: Path) -> None:
    labels = make_sets(tmp_path / "exp", ["a", "b", "c"], sharpness=0.5)
    texts = np.array([in_text(np.flatnonzero(row)) for row in labels])
    make_data(tmp_path / "data", read_results(tmp_path / "exp").paths, texts)
    make_config(tmp_path / "exp", tmp_path / "data", 3, multi_label=True)
    make_history(tmp_path / "exp")
    one = data_of(render([open_experiment(tmp_path / "exp")]))["experiments"][0]
    assert {str(row) for row in one["errors"]} <= one["strips"].keys() and one["strip_note"] == ""
    assert set(one["curves"]["val"]) == {"step", "loss", "mAP", "hit1", "hit5"}


@pytest.mark.slow
def test_twenty_thousand_videos_stay_under_20_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num, names = 20_000, [f"a class with a rather long name, number {index}" for index in range(300)]
    rng = np.random.default_rng(0)
    labels, scores = rng.random((num, 300)) < 0.02, rng.beta(0.1, 2, (num, 300))
    paths = [f"validation/a_folder_with_a_name/a_video_with_a_long_name_{row:08d}_000010" for row in range(num)]
    write_results(tmp_path, paths=paths, labels=labels, scores=scores, class_names=names, protocol="")
    make_history(tmp_path, steps=150_000)
    full = Strips(dict.fromkeys(paths[:99], "data:image/jpeg;base64," + "A" * (STRIP_BUDGET // 100)))
    monkeypatch.setattr(report_data, "make_strips", lambda *_, **__: full)
    page = render([open_experiment(tmp_path)])
    assert STRIP_BUDGET < len(page.encode()) < 20 * MEGABYTE
    assert not re.search(r"NaN|Infinity", page[page.index('id="data"') : page.index("</script>")])
