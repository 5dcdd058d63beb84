"""A network that reads five frames at each place (TDN), through every command that shows it videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.experiment import make_experiment, run
from tests.helpers.run_tool import run_tool
from tools import browse_data, cam, predict, stream
from utils.errors import ConfigError
from utils.run import checkpoint

MODEL: dict[str, Any] = {
    "type": "tsn",
    "backbone": "resnet18",
    "num_segments": 2,
    "num_class": 2,
    "temporal": {"name": "tdn"},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_experiment(
        tmp_path_factory.mktemp("five"),
        train=4,
        val=2,
        model=MODEL,
        data={"sampling": "tsn_val"},
        lr_scheduler={"type": "COSINE", "base_lr": 0.01, "max_iter": 2},
    )
    assert run(path, "--dry-run") == 0
    assert run(path) == 0
    assert run(path, "--evaluate") == 0
    return path


def test_its_checkpoint_says_how_many_frames_lie_at_a_place(config: Path) -> None:
    saved = checkpoint.load(config.parent / checkpoint.BEST)
    assert saved["preprocessing"] | {"modality": "rgb", "stack": 5, "num_frames": 2} == saved["preprocessing"]


def test_videos_are_predicted_explained_and_shown(config: Path, tmp_path: Path) -> None:
    best, video = str(config.parent / checkpoint.BEST), str(config.parents[1] / "frames/bright/val 1")
    assert predict.main([best, video, "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["videos"][0]["frames"] == 8
    assert cam.main([best, video, str(tmp_path / "cam.png")]) == 0
    assert (tmp_path / "cam.png").is_file()
    assert browse_data.main([str(config), "--count", "2", "--out", str(tmp_path / "sheet.png")]) == 0
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame, but tsn_tdn_resnet18 has TDN"):
        stream.main([best, video])


@pytest.mark.long
def test_it_is_exported_with_the_frames_that_a_video_gives(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.pt2"
    printed = run_tool("export", config.parent / checkpoint.BEST, file)
    assert file.is_file() and "largest difference from PyTorch" in printed.stdout
