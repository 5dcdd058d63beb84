"""The experiments of exps/motion8, three steps each, on a motion8 that is made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import main
from tests.requirements import ROOT
from tools import dump_frames, make_lists, make_motion8

EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "exps" / "motion8").glob("*/config.yaml"))


@pytest.fixture(scope="module")
def motion8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion8")
    videos = folder / "videos"
    assert make_motion8.main([str(videos), "--train", "8", "--val", "8", "--workers", "1"]) == 0
    assert dump_frames.main([str(videos), str(folder / "data"), "--size", "72", "--workers", "1"]) == 0
    assert make_lists.main([str(folder / "data"), "--split", str(videos / "splits")]) == 0
    return folder / "data"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_of_motion8_takes_three_steps(name: str, motion8: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "exps" / "motion8" / name / "config.yaml", tmp_path)
    places = [f"common.{key}_root={motion8}" for key in ("train", "val")]
    places += [f"common.{key}_source={motion8 / 'lists' / key}.txt" for key in ("train", "val")]
    short = ["batch_size=4", "workers=0", "print_freq=1", "val_freq=2", "lr_scheduler.max_iter=3"]
    arguments = [*places, *(f"common.{text}" for text in [*short, "lr_scheduler.warmup_steps=1"])]
    assert main.main(["--config", str(tmp_path / "config.yaml"), *arguments]) == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == [0, 1, 2]
    assert [record["step"] for record in records if record["kind"] == "val"] == [2]
    assert (tmp_path / "ckpt.pth.tar").is_file() and (tmp_path / "ckpt_best.pth.tar").is_file()
