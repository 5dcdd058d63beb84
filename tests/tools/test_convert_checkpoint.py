"""From a published file to a folder that evaluates at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torchvision.models import resnet18

from main import main as run_main
from methods import METHODS
from methods.base import Method
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.load import load_into
from networks.checkpoints.protocols import PROJECTS
from tests.helpers.randomise import randomise
from tests.helpers.run_tool import run_tool
from tests.networks.checkpoints.layouts import official_names_2d as official
from tests.networks.checkpoints.layouts.official_names_vit import vjepa2_parts
from tools.convert_checkpoint import main
from tools.inference import load
from utils.errors import CheckpointError, ConfigError, UserError
from utils.transforms.presets import PRESETS

SMALL = ["common.augmentation.input_size=32", "common.augmentation.test_resize=32", "common.workers=0"]


def _published(folder: Path, *, num_class: int = 7, method: str = "tsm") -> tuple[Method, Path]:
    made = METHODS[method](backbone="resnet18", num_class=num_class)
    path = folder / f"TSM_kinetics_RGB_{num_class}.pth"
    torch.save({"state_dict": official.mit(made.state_dict(), {}, shifted=method == "tsm"), "epoch": 50}, path)
    return made, path


def _read(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    checkpoint = torch.load(out / "ckpt_best.pth.tar", weights_only=True)
    return checkpoint, yaml.safe_load((out / "config.yaml").read_text())["common"]


def test_every_layout_of_a_video_network_has_a_protocol() -> None:
    names = {layout.name for layout in LAYOUTS}
    images = {name for name in names if name.startswith("image network")} | {"CLIP"}
    refused = {name for name in names if name.endswith("detection")}
    assert names - images - refused == set(PROJECTS)


@pytest.mark.whole
def test_the_folder_holds_the_same_network_and_evaluates_at_once(tmp_path: Path) -> None:
    made, path = _published(tmp_path)
    out = tmp_path / "converted"
    assert main([str(path), str(out), *SMALL]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["ckpt_best.pth.tar", "config.yaml"]
    checkpoint, common = _read(out)
    assert {key.removeprefix("module.") for key in checkpoint["state_dict"]} == set(made.state_dict())
    assert checkpoint["arch"] == "tsm_resnet18" and checkpoint["config"]["common"] == common
    assert checkpoint["preprocessing"]["size"] == [32, 32] and checkpoint["class_names"] is None
    assert common["model"]["num_class"] == 7 and common["augmentation"]["preset"] in PRESETS
    again = METHODS["tsm"](backbone="resnet18", num_class=7)
    load_into(again, out / "ckpt_best.pth.tar")
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in again.state_dict().items())
    assert run_main(["--config", str(out / "config.yaml"), "--evaluate", "--fake"]) == 0
    assert run_main(["--config", str(out / "config.yaml"), "--dry-run"]) == 0


@pytest.mark.whole
def test_what_the_file_does_not_tell_is_said_and_changed_by_overrides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = _published(tmp_path)
    main([str(path), str(tmp_path / "a")])
    assert "num_segments, shift_div: not in the file" in capsys.readouterr().out
    assert "# num_segments, shift_div: not in the file" in (tmp_path / "a" / "config.yaml").read_text()
    main([str(path), str(tmp_path / "b"), "common.model.num_segments=16", "common.model.shift_div=4"])
    model = _read(tmp_path / "b")[1]["model"]
    assert (model["num_segments"], model["shift_div"]) == (16, 4)


@pytest.mark.whole
def test_a_file_of_mmaction2_needs_no_option_because_its_config_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dot products and embedded Gaussians have the same weights; the segments and views leave none."""
    made = METHODS["tsm"](backbone="resnet34", num_class=3, num_segments=4, non_local="dot_product")
    randomise(made)
    cfg = """
model = dict(
    type='Recognizer2D',
    backbone=dict(type='ResNetTSM', depth=34, num_segments=4, non_local_cfg=dict(mode='dot_product')),
    cls_head=dict(type='TSMHead', num_classes=3))
train_pipeline = [dict(type='SampleFrames', clip_len=1, num_clips=4)]
test_pipeline = [dict(type='SampleFrames', clip_len=1, num_clips=4), dict(type='CenterCrop', crop_size=32)]
"""
    meta = {"cfg": cfg, "dataset_meta": {"classes": ("run", "sit", "walk")}}
    path, out = tmp_path / "epoch_50.pth", tmp_path / "converted"
    torch.save({"state_dict": official.mmaction2(made.state_dict(), {}, shifted=True), "meta": meta}, path)
    assert main([str(path), str(out)]) == 0
    said = "from the config in the file: num_segments 4, shift_div 8, non_local dot_product"
    assert said in capsys.readouterr().out and f"# {said}" in (out / "config.yaml").read_text()
    checkpoint, common = _read(out)
    assert checkpoint["class_names"] == ["run", "sit", "walk"]
    assert (common["model"]["num_segments"], common["model"]["non_local"]) == (4, "dot_product")
    assert (common["test"]["num_crops"], common["test"]["input_size"]) == (1, 32)
    again = load(out / "ckpt_best.pth.tar", device="cpu").method
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(clip), made.eval()(clip), rtol=0, atol=0)


@pytest.mark.whole
def test_class_names_come_from_a_file_or_with_400_outputs_from_kinetics(tmp_path: Path) -> None:
    _, path = _published(tmp_path, num_class=400, method="tsn")
    main([str(path), str(tmp_path / "a")])
    names = _read(tmp_path / "a")[0]["class_names"]
    assert len(names) == 400 and (names[0], names[-1]) == ("abseiling", "zumba")
    _, path = _published(tmp_path, num_class=2)
    (tmp_path / "classInd.txt").write_text("0 run\n1 walk\n")
    main([str(path), str(tmp_path / "b"), "--class-names", str(tmp_path / "classInd.txt")])
    assert _read(tmp_path / "b")[0]["class_names"] == ["run", "walk"]
    (tmp_path / "classInd.txt").write_text("0 run\n1 walk\n2 sit\n")
    with pytest.raises(UserError, match="names 3 classes, but the network has 2"):
        main([str(path), str(tmp_path / "c"), "--class-names", str(tmp_path / "classInd.txt")])
    assert not (tmp_path / "c").exists()


@pytest.mark.whole
def test_our_own_checkpoint_keeps_its_config(tmp_path: Path) -> None:
    _, path = _published(tmp_path)
    main([str(path), str(tmp_path / "a"), "common.batch_size=3"])
    main([str(tmp_path / "a" / "ckpt_best.pth.tar"), str(tmp_path / "b")])
    assert _read(tmp_path / "b")[1] == _read(tmp_path / "a")[1]
    assert _read(tmp_path / "b")[1]["batch_size"] == 3


def test_weights_of_ours_without_their_config_are_sent_to_the_config(tmp_path: Path) -> None:
    torch.save(METHODS["tsn"](backbone="resnet18", num_class=2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"without the config that says of which network.*--load-path \S+x\.pth"):
        main([str(tmp_path / "x.pth"), str(tmp_path / "out")])


def _trained(**arguments: Any) -> Method:
    """A network whose biases are not zero any more."""
    method = METHODS["clip3d"](**arguments)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.01)
    return method


def test_an_encoder_of_v_jepa_2_and_its_probe_become_one_network(tmp_path: Path) -> None:
    kwargs = {"embed_dim": 24, "depth": 2, "num_heads": 1, "pool_depth": 2, "pool_heads": 1}
    method = _trained(backbone="vjepa2_l", num_class=5, clip_len=16, kwargs=kwargs)
    inner = {key.removeprefix("network."): value for key, value in method.state_dict().items()}
    encoder, probe = vjepa2_parts(inner)
    torch.save({"target_encoder": encoder}, tmp_path / "vitl.pt")
    torch.save({"classifiers": [probe]}, tmp_path / "probe.pt")
    given = [str(tmp_path / "vitl.pt"), str(tmp_path / "out"), "--head", str(tmp_path / "probe.pt")]
    assert main(given) == 0
    saved, config = _read(tmp_path / "out")
    kept = {key.removeprefix("module."): value for key, value in saved["state_dict"].items()}
    assert kept.keys() == method.state_dict().keys()
    assert all(torch.equal(value, kept[key]) for key, value in method.state_dict().items())
    assert config["model"]["num_class"] == 5 and config["model"]["kwargs"]["pool_depth"] == 2
    with pytest.raises(UserError, match=r"vitl\.pt: --head joins a V-JEPA 2 probe to the encoder of V-JEPA 2; this is"):
        main([given[0], str(tmp_path / "other"), "--head", given[0]])
    assert not (tmp_path / "other").exists()


def test_a_probe_of_something_something_becomes_a_network_that_reads_two_windows_together(tmp_path: Path) -> None:
    kwargs = {"embed_dim": 24, "depth": 2, "num_heads": 1, "pool_depth": 2, "pool_heads": 1}
    method = _trained(backbone="vjepa2_l", num_class=174, clip_len=16, kwargs=kwargs)
    encoder, probe = vjepa2_parts({key.removeprefix("network."): value for key, value in method.state_dict().items()})
    torch.save({"target_encoder": encoder}, tmp_path / "vitl.pt")
    torch.save({"classifiers": [probe]}, tmp_path / "probe.pt")
    assert main([str(tmp_path / "vitl.pt"), str(tmp_path / "out"), "--head", str(tmp_path / "probe.pt")]) == 0
    saved, config = _read(tmp_path / "out")
    assert (config["model"]["clip_len"], config["model"]["kwargs"]["segments"]) == (32, 2)
    assert (config["test"]["num_clips"], saved["preprocessing"]["segments"]) == (1, 2)
    notes = " ".join(saved["notes"])
    assert "2 windows of 16 frames, 4 apart, are read together" in notes and "16 and 4 assumed" not in notes


def test_a_folder_that_is_there_is_never_written_into(tmp_path: Path) -> None:
    _, path = _published(tmp_path)
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="already exists"):
        main([str(path), str(out)])
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["common.model.shift_dif=4"], ConfigError, r"common\.model\.shift_dif.*shift_div"),
        (["common.model.backbone=resnet34"], CheckpointError, "does not fit tsm_resnet34"),
        (["common.batch_size=none"], ConfigError, r"common\.batch_size"),
    ],
)
def test_after_a_mistake_nothing_is_left_behind(
    overrides: list[str], error: type[UserError], message: str, tmp_path: Path
) -> None:
    _, path = _published(tmp_path)
    with pytest.raises(error, match=message):
        main([str(path), str(tmp_path / "out"), *overrides])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_image_network_belongs_into_pretrained(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "resnet18-f37072fd.pth")
    with pytest.raises(UserError, match=r"put it into pretrained/ as resnet18-f37072fd\.pth"):
        main([str(tmp_path / "resnet18-f37072fd.pth"), str(tmp_path / "out")])


def test_a_network_that_the_file_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    made = METHODS["tsn"](backbone="shufflenet_v2_x0_5", num_class=4)
    names = {"backbone.": "base_model.", "head.": "new_fc."}
    state = {}
    for key, value in made.state_dict().items():
        ours = next(part for part in names if key.startswith(part))
        state[key.replace(ours, names[ours], 1)] = value
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"add common\.model\.backbone=NAME"):
        main([str(tmp_path / "x.pth"), str(tmp_path / "out")])
    assert main([str(tmp_path / "x.pth"), str(tmp_path / "out"), "common.model.backbone=shufflenet_v2_x0_5"]) == 0


def test_a_file_that_is_not_there_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    done = run_tool("convert_checkpoint", tmp_path / "absent.pth", tmp_path / "out", code=2)
    assert done.stderr == f"error: {tmp_path}/absent.pth: no such checkpoint\n"
