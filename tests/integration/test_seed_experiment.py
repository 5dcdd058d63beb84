"""The seed's own experiment, byte for byte as its README has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from main import main
from tests.helpers.requirements import ROOT
from utils.errors import CheckpointError
from utils.run import checkpoint

SEED = next((ROOT / "exps" / "douyin_exps").rglob("config.yaml"))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copy(SEED, tmp_path / "config.yaml"))


def test_a_dry_run_explains_the_seeds_config_on_a_machine_without_its_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(SEED), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "parameters: 2,418,584" in printed
    assert "GMACs per view: 0.899 at 3 x 224 x 224" in printed
    assert "warning: common.train_source: /mnt/lustre" in printed
    assert "bn_group_size: 16 is more than the 1 process(es) of this run, so 1 is used" in printed
    assert "mobilenet_v2-b0353104.pth is not here yet: a run begins with its download" in printed
    assert "effective batch: 32 per process x 1 process(es) = 32 videos per step" in printed
    assert "steps: 15010" in printed and "0:0.010000" in printed and "500:0.040000" in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.startswith("common.")}
    # what the preset, the method and other keys decide is told too
    in_force = {"augmentation.crop": "multi_scale", "test.average": "scores", "test.sampling": "segments"}
    in_force |= {"test.num_crops": "1", "test.batch_size": "32", "test.num_frames": "3", "ckpt_freq": "250"}
    in_force |= {"augmentation.scales": "[1, 0.875, 0.75, 0.66]", "augmentation.mean": "[0.485, 0.456, 0.406]"}
    told = {key.removeprefix("common."): line.removeprefix(key).strip() for key, line in lines.items()}
    for key, value in in_force.items():
        assert told[key].startswith(f"{value}  ") and told[key].endswith("  default")
    assert lines["common.seed"].endswith("default") and lines["common.batch_size"].endswith("config.yaml:26")


def test_without_a_network_the_seeds_experiment_says_which_weights_it_lacks_and_trains_nothing(copied: Path) -> None:
    with pytest.raises(CheckpointError, match=r"put the file here as pretrained/mobilenet_v2-b0353104\.pth; or name "):
        main(["--config", str(copied), "--fake", "common.val_source=null"])
    assert [path.name for path in copied.parent.iterdir()] == ["config.yaml"]


def test_the_seeds_experiment_trains_in_one_process(copied: Path) -> None:
    overrides = ["common.batch_size=2", "common.workers=0", "common.lr_scheduler.max_iter=1", "common.print_freq=1"]
    overrides += ["common.model.pretrained=False"]  # tests cannot reach the internet
    overrides += ["common.lr_scheduler.warmup_steps=0", "common.val_source=null"]
    assert main(["--config", str(copied), "--fake", *overrides]) == 0
    log = (copied.parent / "log.txt").read_text()
    assert "bn_group_size: 16 is more than the 1 process(es)" in log
    assert "LR 0.010000" in log
    saved = checkpoint.load(copied.parent / "ckpt.pth.tar")
    assert saved["state_dict"]["module.head.weight"].shape == (152, 1280)
