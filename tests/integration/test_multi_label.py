"""A multi-label experiment from its lists to its tools."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from anal_tools import analyze, ledger, report
from tests.helpers.experiment import run
from tests.helpers.multi_label import MODEL, NAMES, make_multi_label
from tools import check_data, predict
from utils.errors import UserError
from utils.run import checkpoint
from utils.scoring.average_precision import mean_average_precision
from utils.scoring.result_files import LINES, SCORES, TEXT, read_results

EVERYTHING = {
    "class_weights": "balanced",
    "balanced_sampling": True,
    "augmentation": {"input_size": 32, "mix_up": 0.2, "cut_mix": 0.5, "flip_labels": {"day": "sun", "sun": "day"}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with all options that look at labels, trained for a few steps and evaluated."""
    config = make_multi_label(tmp_path_factory.mktemp("multi_label"), **EVERYTHING)
    assert run(config, "common.lr_scheduler.max_iter=6") == 0
    assert run(config, "--evaluate") == 0
    return config


def test_the_best_checkpoint_is_chosen_by_map_and_evaluates_to_what_was_logged(trained: Path) -> None:
    records = [json.loads(line) for line in (trained.parent / "metrics.jsonl").read_text().splitlines()]
    best = max(record["mAP"] for record in records if record["kind"] == "val")
    saved = checkpoint.load(trained.parent / checkpoint.BEST)
    assert saved["best_prec1"] == best and saved["config"]["common"]["multi_label"] is True
    assert saved["preprocessing"]["scores"] == "sigmoid"
    log = (trained.parent / "log.txt").read_text()
    assert log.count(f"validation: mAP {best:.3f} Hit@1") == 2 and f"best mAP {best:.3f}" in log
    results = read_results(trained.parent)
    assert results.scores is not None and mean_average_precision(results.scores, results.labels) == pytest.approx(best)
    assert {"hit1", "hit5", "loss"} <= records[0].keys() and not {"acc1", "acc5"} & records[0].keys()
    assert "Hit@1" in log.split("Iter: [0/6]")[1].split("\n")[0]


def test_scores_are_sigmoids_and_truths_are_sets(trained: Path) -> None:
    results = read_results(trained.parent)
    assert results.scores is not None and abs(results.scores.sum(1) - 1).max() > 0.01
    assert results.labels.tolist() == [[1, 0, 0], [0, 1, 1]] * 3 + [[0, 0, 0]]
    text = (trained.parent / "reference_result.txt").read_text().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in text] == ["0", "1;2"] * 3 + ["-"]


def test_a_list_without_labels_is_scored_and_gets_no_map(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {name: (trained.parent / name).read_bytes() for name in (TEXT, LINES, SCORES)}
    lines = (trained.parents[1] / "lists" / "val.txt").read_text().splitlines()
    (tmp_path / "test.txt").write_text("".join(line.rpartition(" ")[0] + " -1\n" for line in lines))
    source = f"common.val_source={tmp_path / 'test.txt'}"
    try:
        assert run(trained, "--evaluate", source) == 0
        said = capsys.readouterr().out
        assert "predictions only, no video has a label" in said and "mAP" not in said and "nan" not in said
        assert (read_results(trained.parent).labels == -1).all()
    finally:
        for name, content in known.items():
            (trained.parent / name).write_bytes(content)
    with pytest.raises(UserError, match="none of its videos has a label, so there is nothing to validate by"):
        run(trained, source, "common.lr_scheduler.max_iter=20")


def test_events_have_the_numbers_that_take_the_place_of_accuracies(trained: Path) -> None:
    events = EventAccumulator(str(trained.parent / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        *("loss_train", "hit1_train", "hit5_train", "lr", "loss_val", "mAP_val", "hit1_val", "hit5_val"),
    }


def test_analysis_has_a_row_per_class_and_the_surest_errors(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze.main(["-e", str(trained.parent)]) == 0
    said = capsys.readouterr().out
    results = read_results(trained.parent)
    mean = mean_average_precision(results.scores, results.labels)
    assert f"{mean:6.2f} %  mean over 3 of 3 classes" in said and "1.29 each, 1 show no class" in said
    with (trained.parent / "analysis/per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == NAMES and [row["videos"] for row in rows] == ["3", "3", "3"]
    assert np.mean([float(row["average_precision"]) for row in rows]) == pytest.approx(mean, abs=1e-3)
    assert (trained.parent / "analysis/per_class.png").stat().st_size > 5000
    errors = [line.split("\t") for line in (trained.parent / "analysis/top100_errors.txt").read_text().splitlines()]
    for kind, name, score, truth, _ in errors[1:]:
        assert (name in truth.split("; ")) == (kind == "missed") == (float(score) < 0.5)
    with pytest.raises(UserError, match="--forgive"):
        analyze.main(["-e", str(trained.parent), "--forgive", "pairs.txt"])


def test_the_other_tools_know_what_it_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_data.main([str(trained), "--quick"]) == 0 and "nothing is wrong" in capsys.readouterr().out
    assert ledger.main([str(trained.parent.parent), "--csv", "-"]) == 0
    row = next(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert row["metric"] == "mAP" and row["best"] == row["evaluated"] and row["evaluated_videos"] == "7"
    assert report.main(["-e", str(trained.parent)]) == 0 and "report.html" in capsys.readouterr().out
    video = trained.parent.parent / "frames" / "bright" / "val 1"
    assert predict.main([str(trained.parent / checkpoint.BEST), str(video), "--json", "-"]) == 0
    answers = json.loads(capsys.readouterr().out)["videos"][0]["top"]
    results = read_results(trained.parent)
    assert results.scores is not None
    expected = results.scores[results.paths.index("bright/val 1")]
    assert {answer["name"]: pytest.approx(answer["score"], abs=1e-4) for answer in answers} == dict(
        zip(NAMES, expected.tolist(), strict=True)
    )


def test_made_up_videos_have_sets_too(tmp_path: Path) -> None:
    config = make_multi_label(tmp_path, **EVERYTHING | {"augmentation": {"input_size": 32, "mix_up": 0.2}})
    assert run(config, "--fake", "common.lr_scheduler.max_iter=1") == 0


def test_one_class_per_video_is_not_read_from_sets(tmp_path: Path) -> None:
    config = make_multi_label(tmp_path, multi_label=False, model=MODEL)
    with pytest.raises(UserError, match=r"val.txt:2: '1;2' is a set of classes .* common.multi_label: True"):
        run(config)
