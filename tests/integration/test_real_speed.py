"""The experiments of exps/real_speed, three steps each, on a film that is made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import main
from tests.helpers.make_video import make_video
from tests.helpers.requirements import ROOT
from tools import make_pretext

EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "exps/real_speed").glob("*/config.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real_speed")
    videos = [str(make_video(folder / f"{number}.mp4", frames=40)) for number in range(2)]
    arguments = ["--size", "112", "--clips", "24", "--motion", "0", "--workers", "1"]
    assert make_pretext.main([*videos, "--out", str(folder / "data"), *arguments]) == 0
    return folder / "data"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * name.startswith("tsn")) for name in EXPERIMENTS]
)
def test_an_experiment_of_real_speed_takes_three_steps(name: str, data: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "exps/real_speed" / name / "config.yaml", tmp_path)
    changes = [f"{side}_root={data}" for side in ("train", "val")]
    changes += [f"{side}_source={data}/lists/{side}.txt" for side in ("train", "val")]
    changes += ["workers=0", "batch_size=2", "lr_scheduler.warmup_steps=1", "lr_scheduler.max_iter=3", "val_freq=2"]
    changes += ["print_freq=1", "model.pretrained=False", "augmentation.input_size=32", "augmentation.test_resize=32"]
    assert main.main(["--config", str(tmp_path / "config.yaml"), *[f"common.{change}" for change in changes]]) == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == [0, 1, 2]
    assert [record["step"] for record in records if record["kind"] == "val"] == [2]
