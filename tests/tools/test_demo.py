"""The demo of segments runs commands that exist, in an order in which each finds its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tools.demo as demo
from utils.config.file import load_config
from utils.files import ROOT
from utils.scoring.segment_evaluation import ANSWER, TRUTH


def test_the_demo_of_segments_trains_on_what_it_makes() -> None:
    steps = demo.steps_of_segments()
    common = load_config(ROOT / demo.SEGMENTS / "config.yaml").common
    films = next(step.command[2] for step in steps if step.what == "make films")
    lists = next(step.command[step.command.index("--lists") + 1] for step in steps if step.what == "write spans")
    assert films == common.train_root == common.val_root
    assert {common.train_source, common.val_source} == {f"{lists}/{name}.csv" for name in ("train", "val")}
    tsm = next(step.command[-1] for step in steps if step.what == "train")
    assert str(common.model.pretrained) == str(Path(tsm).parent / "ckpt_best.pth.tar")
    assert (demo.TRUTH, demo.ANSWER) == (TRUTH, ANSWER)


def test_the_last_line_has_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    content = {
        "scores": {"mAP@0.5": {"value": 91.234}, "F1@50": {"value": 92.0}},
        "borders": {"both": 0.0825},
    }
    (tmp_path / demo.SEGMENTS).mkdir(parents=True)
    (tmp_path / demo.SEGMENTS / "reference_scores.json").write_text(json.dumps(content))
    demo.show_segments([("make films", 0.5)])
    expected = "motion8 segment_mstcn mAP@0.5 91.23 % F1@50 92.00 % borders 0.08 s"
    assert capsys.readouterr().out.splitlines()[-1] == expected
