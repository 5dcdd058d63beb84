"""The ledger lists every experiment once, with what it reached and how it differs, and survives broken folders."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from anal_tools.ledger import main
from anal_tools.ledger_table import training_time
from tests.helpers.results import make_config, make_history, make_results
from tests.helpers.run_tool import run_tool
from utils.config.file import load_config
from utils.scoring.result_files import TEXT
from utils.training.state import TrainState


@pytest.fixture
def exps(tmp_path: Path) -> Path:
    for name, rate in (("base", 0.01), ("deep/faster [x]", 0.02)):
        folder = tmp_path / name
        make_config(folder, tmp_path / "data", 2, lr_scheduler={"type": "COSINE", "base_lr": rate, "max_iter": 200})
        make_history(folder, best=80.0 if name == "base" else 85.5)
        make_results(folder, ["a", "b"])
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    for seconds, name in enumerate(("deep/faster [x]", "base")):  # base is newer
        for path in (tmp_path / name).iterdir():
            os.utime(path, (1e9 + seconds, 1e9 + seconds))
    (tmp_path / "untrained").mkdir()
    (tmp_path / "untrained/config.yaml").write_text("common: {oops: 1}\n")
    return tmp_path


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["experiment"]: row for row in csv.DictReader(io.StringIO(text))}


def test_runs_are_listed_the_newest_first(exps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(exps), "--csv", "-"]) == 0
    assert list(rows_of(capsys.readouterr().out)) == ["base", "deep/faster [x]"]
    for path in (exps / "deep/faster [x]").iterdir():
        os.utime(path)
    assert main([str(exps)]) == 0
    shown = capsys.readouterr().out
    assert (
        shown.index("deep/faster [x]") < shown.index("80.00") and "1 more have not run yet: --all lists them" in shown
    )


def test_a_folder_without_a_run_is_an_error_that_names_the_option(exps: Path) -> None:
    said = run_tool("ledger", exps / "untrained", folder="anal_tools", code=2).stderr
    assert "none of its 1 experiments has run yet; --all lists them" in said


def test_the_ledger_compares_what_ran_and_not_what_the_file_says_now(
    exps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rate, steps in (("base", 0.01, 200), ("deep/faster [x]", 0.04, 20)):
        config = load_config(exps / name / "config.yaml", [f"common.lr_scheduler.base_lr={rate}"])
        raw = {"common": dict(config.raw["common"]) | {"lr_scheduler": {"base_lr": rate, "max_iter": steps}}}
        values = {"common.lr_scheduler.base_lr": rate, "common.lr_scheduler.max_iter": steps}
        record = {"step": 0, "config": raw, "values": values, "set": dict.fromkeys(values, "command line")}
        (exps / name / "runs.jsonl").write_text('{"step": 0}\n' + json.dumps(record) + "\n")
        make_config(exps / name, exps / "data", 2, lr_scheduler={"base_lr": 7.0, "max_iter": 7})  # edited since
    assert main([str(exps), "--base", str(exps / "base"), "--csv", "-"]) == 0
    row = rows_of(capsys.readouterr().out)["deep/faster [x]"]
    assert row["differences"] == "lr_scheduler.base_lr=0.04; lr_scheduler.max_iter=20" and row["planned"] == "20"


def test_every_experiment_is_one_row(exps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(exps), "--all", "--csv", "-"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert list(rows) == ["base", "deep/faster [x]", "untrained"]
    assert float(rows["base"]["best"]) == 80.0 and rows["base"]["best_step"] == "100"
    assert rows["base"]["differences"] == "" and rows["base"]["evaluated_videos"] == "60"
    assert rows["deep/faster [x]"]["differences"] == "lr_scheduler.base_lr=0.02"
    assert float(rows["base"]["seconds_per_step"]) == pytest.approx(0.5)
    assert float(rows["base"]["hours"]) == pytest.approx(0.5 * 191 / 3600)
    assert "oops" in rows["untrained"]["problem"] and rows["untrained"]["best"] == ""


def test_of_equal_validations_the_one_with_the_lowest_loss_is_the_best_as_in_training(
    exps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = TrainState()
    with (exps / "base/metrics.jsonl").open("w") as file:
        for step, loss in ((9, 0.6), (19, 0.16), (29, 0.16), (39, 0.3)):
            file.write(json.dumps({"kind": "val", "step": step, "acc1": 80.0, "loss": loss}) + "\n")
            state.step = step + 1
            state.note_best(80.0, loss)
    assert main([str(exps), "--csv", "-"]) == 0
    assert rows_of(capsys.readouterr().out)["base"]["best_step"] == "19" == str(state.best_step - 1)


def test_another_base_turns_the_differences_round(exps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(exps), "--base", str(exps / "deep/faster [x]"), "--csv", "-"])
    rows = rows_of(capsys.readouterr().out)
    assert rows["base"]["differences"] == "lr_scheduler.base_lr=0.01" and not rows["deep/faster [x]"]["differences"]


def test_the_table_shows_the_same_and_the_csv_is_written(exps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(exps), "--all", "--csv", str(exps / "ledger.csv")])
    shown = capsys.readouterr().out
    assert "3 experiments" in shown and "85.50" in shown and "lr_scheduler.base_lr=0.02" in shown and "[x]" in shown
    assert len(rows_of((exps / "ledger.csv").read_text())) == 3


def test_broken_results_are_told_in_their_row(exps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (exps / "base" / TEXT).write_text("half a li")
    assert main([str(exps), "--csv", "-"]) == 0
    assert "cut off" in rows_of(capsys.readouterr().out)["base"]["problem"]


def test_time_is_summed_over_all_steps_and_nan_left_out() -> None:
    records = [
        {"kind": "train", "step": step, "time": time} for step, time in ((0, 2.0), (10, 1.0), (20, float("nan")))
    ]
    assert training_time(records) == (2.0 + 10 * 1.0, 21)
    assert training_time([]) == (None, None)
    assert training_time([{"kind": "val", "step": 4}]) == (None, 5)


def test_a_table_is_all_it_prints_and_it_complains_in_one_line(tmp_path: Path, exps: Path) -> None:
    done = run_tool("ledger", exps, "--all", folder="anal_tools")
    assert "3 experiments" in done.stdout and not done.stderr
    assert run_tool("ledger", tmp_path / "nowhere", folder="anal_tools", code=2).stderr.count("\n") == 1
