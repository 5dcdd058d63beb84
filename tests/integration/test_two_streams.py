"""Two streams from nothing: textures that move, their flow, a network on each, evaluation, fusion, prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import main
from tests.helpers.moving import make_moving
from tools import browse_data, check_data, dump_flow, extract_features, fuse, predict, stream
from utils.errors import UserError
from utils.run import checkpoint

FLOW = {"type": "tsn", "backbone": "resnet18", "num_segments": 2, "num_class": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two") / "moving"
    make_moving(root, {"train": 8, "val": 6})
    assert dump_flow.main([str(root), "--workers", "1"]) == 0
    return root


def write_config(folder: Path, dataset: Path, **common: Any) -> Path:
    """A config whose test crops are cut from frames at their own size, as the flow is."""
    config = {
        "model": FLOW | {"modality": "flow", "stack": 2} | common.pop("model", {}),
        "augmentation": {"input_size": 40, "test_resize": 48, "flip_labels": {"left": "right", "right": "left"}},
        "data": {"sampling": "tsn"},
        "test": {"sampling": "tsn"},
        "policy": True,
        "workers": 0,
        "batch_size": 8,
        "lr_scheduler": {"type": "COSINE", "base_lr": 0.01, "max_iter": 8},
        "val_freq": 8,
        "precise_bn": 1,  # its statistics would need more steps than the weights
        "train_root": str(dataset),
        "train_source": str(dataset / "lists" / "train.txt"),
        "val_root": str(dataset),
        "val_source": str(dataset / "lists" / "val.txt"),
    } | common
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"common": config}))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def flow(dataset: Path) -> Path:
    config = write_config(dataset.parent / "flow", dataset)
    assert main.main(["--config", str(config)]) == 0
    assert main.main(["--config", str(config), "--evaluate"]) == 0
    return config.parent


@pytest.mark.long
def test_a_few_steps_on_flow_tell_left_from_right_in_textures_never_seen(flow: Path) -> None:
    saved = checkpoint.load(flow / checkpoint.BEST)
    assert saved["best_prec1"] == 100.0
    assert saved["preprocessing"] | {"modality": "flow", "stack": 2, "mean": [0.5, 0.5]} == saved["preprocessing"]
    assert saved["state_dict"]["module.backbone.conv1.weight"].shape[1] == 4
    rates = {group["name"]: group["lr_mult"] for group in saved["optimizer"]["param_groups"]}
    assert rates["first weight"] == 5.0


@pytest.mark.long
def test_the_streams_fuse(flow: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(dataset.parent / "diff", dataset, model={"modality": "rgbdiff", "stack": 1})
    assert main.main(["--config", str(config), "common.lr_scheduler.max_iter=1"]) == 0
    assert main.main(["--config", str(config), "--evaluate"]) == 0
    capsys.readouterr()
    assert fuse.main([str(config.parent), str(flow), "--weights", "1", "1.5"]) == 0
    assert "100.0" in capsys.readouterr().out


def test_a_flow_checkpoint_predicts_frames_it_has_no_flow_of(flow: Path, dataset: Path, tmp_path: Path) -> None:
    answers = {}
    for label, name in enumerate(("left", "right")):
        shutil.copytree(
            dataset / f"frames/{name}/val_{label}", tmp_path / name, ignore=shutil.ignore_patterns("flow_*")
        )
        target = tmp_path / f"{name}.json"
        assert predict.main([str(flow / checkpoint.BEST), str(tmp_path / name), "--json", str(target)]) == 0
        (video,) = json.loads(target.read_text())["videos"]
        answers[name] = video["top"][0]
        assert video["frames"] == 6  # fields of seven frames
    assert {name: top["name"] for name, top in answers.items()} == {"left": "left", "right": "right"}
    with pytest.raises(UserError, match="only RGB frames can be streamed, but this network takes flow"):
        stream.main([str(flow / checkpoint.BEST), str(tmp_path / "left")])
    out = tmp_path / "features"
    assert extract_features.main([str(flow / checkpoint.BEST), str(tmp_path / "left"), str(out)]) == 0
    assert len(list(out.rglob("*.npz"))) == 1


def test_the_doctor_and_the_contact_sheet_look_at_the_fields(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(dataset, tmp_path / "copy")
    config = write_config(tmp_path / "exp", copy)
    assert check_data.main([str(config), "--workers", "1"]) == 0
    assert "14 videos, every frame decoded: nothing is wrong" in capsys.readouterr().out
    assert browse_data.main([str(config), "--count", "2", "--out", str(tmp_path / "sheet.png")]) == 0
    assert "wrote" in capsys.readouterr().out
    (copy / "frames/left/train_0/flow_y_00006.jpg").unlink()
    (copy / "frames/right/train_1/flow_x_00002.jpg").write_bytes(b"no picture")
    for file in (copy / "frames/left/train_2").glob("flow_*"):
        file.unlink()
    (copy / "frames/right/train_3/img_00001.jpg").write_bytes(b"not looked at")
    assert check_data.main([str(config), "--workers", "1"]) == 2
    said = capsys.readouterr().out
    lists = [str(copy / "lists"), "--root", str(copy)]
    assert check_data.main([*lists, "--workers", "1", "--flow"]) == 2
    assert capsys.readouterr().out == said
    assert "left/train_0' lacks 1 of 6 pictures of optical flow: flow_y_00006.jpg; tools/dump_flow.py" in said
    assert "right/train_1' has 1 undecodable frame: flow_x_00002.jpg" in said
    assert "left/train_2' has no optical flow" in said and "3 faults in 14 videos" in said


def test_a_dry_run_says_what_is_missing_and_what_is_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(dataset, tmp_path / "copy", ignore=shutil.ignore_patterns("flow_*"))
    config = write_config(tmp_path / "exp", copy)
    assert main.main(["--config", str(config), "--dry-run"]) == 0
    assert (
        "no optical flow in this folder or the others that were looked at; tools/dump_flow.py"
        in capsys.readouterr().out
    )
    for override, message in (
        ("common.augmentation.colorjitter=[0.2, 0.2, 0.2, 0.1]", "colorjitter: optical flow has no colour"),
        ("common.augmentation.mean=[0.5, 0.5, 0.5]", r"mean: \[0.5, 0.5, 0.5\] should have 2 numbers, for x and y"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["--config", str(config), "--dry-run", override])
