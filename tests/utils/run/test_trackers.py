from __future__ import annotations

import importlib.util
import json
import math
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.helpers.experiment import make_experiment, run
from tests.helpers.requirements import lacking
from utils.errors import ConfigError, UserError
from utils.run import trackers
from utils.run.folder import RunFolder
from utils.run.trackers import IDS, PACKAGES, Trackers, check_trackers


class Recorder:
    """A tracker in memory."""

    runs: ClassVar[dict[str, list[Any]]] = {}

    def __init__(self, folder: Path, config: Mapping[str, Any], known: str | None) -> None:
        self.id = known or f"run-{len(self.runs)}"
        self.calls = self.runs.setdefault(self.id, [])
        self.calls.append(("begin", folder.name, dict(config)))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        if "train/broken" in numbers:
            raise ConnectionError("no route\nto host")
        self.calls.append((step, dict(numbers)))

    def close(self, *, failed: bool) -> None:
        self.calls.append("failed" if failed else "finished")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    monkeypatch.setattr(Recorder, "runs", {})
    monkeypatch.setattr(trackers, "TRACKERS", {"wandb": Recorder})
    return Recorder.runs


RECORD = {"kind": "train", "step": 4, "loss": 0.5, "lr": math.nan, "protocol": "text"}


def test_a_tracker_gets_the_finite_numbers_of_each_record(runs: dict[str, list[Any]], tmp_path: Path) -> None:
    with RunFolder(tmp_path, track=["wandb", "tensorboard"]) as folder:
        folder.begin(0, {"config": {"a": {"b": 1}}})
        folder.metrics(dict(RECORD))
    assert runs == {"run-0": [("begin", tmp_path.name, {"a": {"b": 1}}), (4, {"train/loss": 0.5}), "finished"]}
    assert json.loads((tmp_path / IDS).read_text()) == {"wandb": "run-0"}


def test_a_run_that_goes_on_is_the_same_run_and_an_error_makes_it_failed(
    runs: dict[str, list[Any]], tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), RunFolder(tmp_path, track=["wandb"]) as folder:
            folder.begin(0, {})
            raise ZeroDivisionError
    assert list(runs) == ["run-0"] and runs["run-0"].count("failed") == 2
    with RunFolder(tmp_path, track=["wandb"]) as folder:
        folder.set_aside()  # as --fresh does
        folder.begin(0, {})
    assert list(runs) == ["run-0", "run-1"]


def test_a_tracker_that_fails_is_left_out_with_one_warning(runs: dict[str, list[Any]], tmp_path: Path) -> None:
    with RunFolder(tmp_path, track=["wandb"]) as folder:
        folder.begin(0, {})
        for _ in range(3):
            folder.metrics({**RECORD, "broken": 1.0})
    assert [call[0] for call in runs["run-0"]] == ["begin"]
    log = (tmp_path / "log.txt").read_text()
    assert log.count("warning: wandb gets no more numbers, metrics.jsonl has them all: no route to host") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_tracker_that_cannot_begin_is_an_error_of_one_line(
    runs: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no account\nlog in")

    monkeypatch.setattr(Recorder, "__init__", refuse)
    with pytest.raises(UserError, match=r"common\.track: wandb cannot begin: no account log in$"):
        Trackers(["wandb"], tmp_path, {}, print)
    (tmp_path / IDS).write_text("[1")
    with pytest.raises(UserError, match=r"trackers\.json: damaged; remove it"):
        Trackers(["wandb"], tmp_path, {}, print)


def test_a_tracker_that_is_not_installed_is_named_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    check_trackers(["tensorboard"])
    with pytest.raises(ConfigError, match=r"common\.track: mlflow is not installed: pip install mlflow-skinny"):
        check_trackers(["mlflow"])


def test_a_tracker_that_is_named_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^common\.track: tensorboard is named 2 times; name it once$"):
        check_trackers(["tensorboard", "tensorboard"])


@pytest.mark.long
@pytest.mark.parametrize("name", list(PACKAGES))
def test_each_tracker_records_offline_what_metrics_jsonl_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(name) is None:
        lacking(f"{name} is not installed: pip install {PACKAGES[name]}")
    config = make_experiment(tmp_path / "exp")
    store = tmp_path / "store"
    for key, value in {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "TRACKIO_DIR": str(store),
        "MLFLOW_TRACKING_URI": store.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    assert run(config, f"common.track=[{name}]", "common.lr_scheduler.max_iter=1") == 0
    assert run(config, f"common.track=[{name}]", "common.lr_scheduler.max_iter=5", "--fresh") == 0
    assert run(config, f"common.track=[{name}]") == 0  # goes on as the same run
    records = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    expected = {record["step"]: record["loss"] for record in records if record["kind"] == "train"}
    known = json.loads((config.parent / IDS).read_text())
    if name == "wandb":
        files = list(config.parent.glob("wandb/offline-run-*/*.wandb"))
        assert sum(file.stem == f"run-{known[name]}" for file in files) == 2 and len(files) == 3
        deadline = time.monotonic() + 30  # wandb's own process may write after its `finish`
        while waiting := [file for file in files if b"train/loss" not in file.read_bytes()]:
            assert time.monotonic() < deadline, waiting
            time.sleep(0.1)
    elif name == "mlflow":
        import mlflow

        client = mlflow.MlflowClient()
        history = client.get_metric_history(known[name], "train/loss")
        assert {point.step: point.value for point in history} == pytest.approx(expected)
        found = client.get_run(known[name])
        assert found.info.status == "FINISHED" and found.data.params["common.model.type"] == "tsm"
    else:
        (file,) = store.glob("*.db")
        rows = (
            sqlite3.connect(file)
            .execute("select step, metrics from metrics where run_name = ?", [known[name]])
            .fetchall()
        )
        found = {step: json.loads(text)["train/loss"] for step, text in rows if "train/loss" in json.loads(text)}
        assert found == pytest.approx(expected)
