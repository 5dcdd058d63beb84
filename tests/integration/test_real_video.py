"""Real clips, damaged and rotated ones among them, from their files to a trained and evaluated network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import yaml

import main
from datasets.lists.parser import parse_list
from tests.helpers.requirements import CLIPS, needs_clips
from tests.helpers.run_tool import run_tool
from utils.scoring.result_files import read_results

LABELS = """\
file,label
demo.mp4,people
demo_spatiotemporal_det.mp4,people
test_video_structuralize.mp4,people
corrupted.mp4,people
nasa_13013.mp4,things
flipping_a_pancake.mkv,things
h264_10bits.mp4,things
video_90.mov,things
"""


@needs_clips
@pytest.mark.long
def test_real_clips_from_their_files_to_an_evaluated_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    data = tmp_path / "data" / "clips"
    done = run_tool("dump_frames", CLIPS, data, "--csv", tmp_path / "labels.csv", "--size", 128, code=1)
    assert "8 videos: 7 ok, 1 failed" in done.stdout and "corrupted.mp4" in done.stderr
    upright = cv2.imread(str(data / "frames" / "things" / "video_90" / "img_00001.jpg"))
    assert upright.shape == (227, 128, 3)

    run_tool("make_lists", data, "--val-ratio", 0.4)
    lists = {name: parse_list(data / "lists" / f"{name}.txt") for name in ("train", "val")}
    frames = sum(int(parsed.numbers["num_frames"].sum()) for parsed in lists.values())
    assert frames == 280 + 57 + 300 + 325 + 310 + 30 + 3
    assert len(lists["train"].lines) == 4 and len(lists["val"].lines) == 3

    sources = {f"{side}_source": str(data / "lists" / f"{side}.txt") for side in ("train", "val")}
    common = {
        "model": {"type": "tsn", "backbone": "mobilenetv2", "num_segments": 3, "num_class": 2, "dropout": 0.5},
        "augmentation": {"input_size": 112, "colorjitter": [0.2, 0.2, 0.2, 0.1]},
        "workers": 1,
        "batch_size": 2,
        "lr_scheduler": {"type": "COSINE", "base_lr": 0.01, "max_iter": 5},
        "val_freq": 4,
        "print_freq": 1,
        "train_root": str(data),
        "val_root": str(data),
        **sources,
    }
    config = tmp_path / "exp" / "config.yaml"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump({"common": common}))
    assert main.main(["--config", str(config)]) == 0
    records = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "train"] == [0, 1, 2, 3, 4]
    (logged,) = [record for record in records if record["kind"] == "val"]
    capsys.readouterr()

    assert main.main(["--config", str(config), "--evaluate"]) == 0
    results = read_results(config.parent)
    assert len(results.paths) == 3 and list(results.class_names) == ["people", "things"]
    top1 = 100 * (results.scores.argmax(axis=1) == results.labels).mean()
    assert top1 == pytest.approx(logged["acc1"], abs=0.01)
