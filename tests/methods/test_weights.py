"""What a run takes from a checkpoint: the computation and the protocol that its network was trained for, or a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from methods.tsm import TSM
from methods.weights import faint_module
from tests.helpers.experiment import make_experiment, run
from tests.helpers.requirements import needs_package
from tests.helpers.trained import TSN, write_checkpoint
from tools.inference import load
from utils.errors import CheckpointError, UserError
from utils.run import checkpoint

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of an experiment that has trained one step."""
    config = make_experiment(tmp_path_factory.mktemp("trained"), train=4, val=2, val_freq=1)
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    return config


CHANGES = [
    ("common.model.shift=uni", "shift is bi in the file and uni here"),
    ("common.model.shift_div=4", "shift_div is 8 in the file and 4 here"),
    ("common.model.shift_place=block", "shift_place is blockres in the file and block here"),
    ("common.model.kwargs={scale: 0.25, input_size: 64}", r"kwargs\.input_size is 224 in the file and 64 here"),
    ("common.model.type=tsn", "the file's network is tsm, this one is tsn"),
    ("common.model.num_segments=3", "num_frames is 2 in the file and 3 here"),
    (
        "common.augmentation.mean=[0.4,0.4,0.4]",
        r"mean is \[0\.485, 0\.456, 0\.406\] in the file and \[0\.4, 0\.4, 0\.4\]",
    ),
    ("common.augmentation.std=[0.5,0.5,0.5]", "std is"),
    ("common.augmentation.input_size=64", r"size is \[32, 32\] in the file and \[64, 64\] here"),
    ("common.augmentation.preset=mit_tsm", "average is scores in the file and logits here; interpolation is auto"),
    ("common.data.sampling=dense", "sampling is segments in the file and dense here"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[change.split("=")[0] for change, _ in CHANGES])
def test_an_evaluation_of_another_network_or_protocol_than_was_trained_is_refused(
    trained: Path, change: str, words: str
) -> None:
    results = trained.parent / "reference_result.txt"
    results.unlink(missing_ok=True)
    with pytest.raises(
        CheckpointError, match=rf"ckpt_best\.pth\.tar: its scores would be others .*{words}.*--not-strict"
    ):
        run(trained, "--evaluate", change)
    assert not results.exists()


def test_not_strict_makes_it_a_warning(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["common.model.shift=uni", "common.augmentation.input_size=64"]
    assert run(trained, "--evaluate", "--not-strict", *changes) == 0
    out = capsys.readouterr().out
    assert "warning: shift is bi in the file and uni here: scores will differ" in out
    assert "warning: size is [32, 32] in the file and [64, 64] here: scores will differ" in out


def test_what_the_test_section_chooses_is_told_and_scored(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "--evaluate", "common.test={num_clips: 2, num_crops: 3, input_size: 64, average: logits}") == 0
    out = capsys.readouterr().out
    for words in ("num_clips is 1 in the file and 2", "num_crops is 1", "size is [32, 32]", "average is scores"):
        assert f"note: test protocol: {words}" in out
    assert "scores will differ" not in out


def test_a_default_that_has_changed_since_a_network_was_trained_is_a_difference(trained: Path, tmp_path: Path) -> None:
    saved = checkpoint.load(trained.parent / "ckpt_best.pth.tar")
    assert saved["settings"]["shift"] == "bi" and "shift" not in saved["config"]["common"]["model"]
    saved["settings"]["shift"] = "uni"  # what a version with another default would have stored
    torch.save(saved, tmp_path / "other.pth")
    path = str(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="shift is uni in the file and bi here"):
        run(trained, "--evaluate", "--load-path", path)
    with pytest.raises(CheckpointError, match="shift is uni in the file and bi here"):
        run(trained, "--evaluate", "--fusion-list", path, path)
    with pytest.raises(CheckpointError, match="shift is uni in the file and bi here"):
        load(path, device="cpu")


def test_a_file_from_before_settings_were_stored_is_compared_by_its_config(trained: Path, tmp_path: Path) -> None:
    saved = checkpoint.load(trained.parent / "ckpt_best.pth.tar")
    del saved["settings"]
    torch.save(saved, tmp_path / "old.pth")
    load(tmp_path / "old.pth", device="cpu")
    with pytest.raises(CheckpointError, match="shift is bi in the file and uni here"):
        run(trained, "--evaluate", "--load-path", str(tmp_path / "old.pth"), "common.model.shift=uni")


def test_predict_refuses_a_config_of_another_computation(trained: Path, tmp_path: Path) -> None:
    best = trained.parent / "ckpt_best.pth.tar"
    other = tmp_path / "config.yaml"
    other.write_text(trained.read_text().replace("num_segments: 2", "num_segments: 2\n    shift: uni"))
    load(best, config=trained, device="cpu")
    with pytest.raises(CheckpointError, match="shift is bi in the file and uni here"):
        load(best, config=other, device="cpu")


def test_training_from_weights_of_another_computation_keeps_the_warning(trained: Path, tmp_path: Path) -> None:
    start = ["--load-path", str(trained.parent / "ckpt.pth.tar"), "common.lr_scheduler.max_iter=1"]
    config = make_experiment(tmp_path, train=4, val=2)
    assert run(config, *start, "common.model.shift=uni", "common.augmentation.mean=[0.4,0.4,0.4]") == 0
    notes = checkpoint.load(config.parent / "ckpt.pth.tar")["notes"]
    assert any("shift is bi in the file and uni here" in note for note in notes)
    assert any(note.startswith("mean is") for note in notes)


def test_a_run_without_validation_stores_the_protocol_of_an_evaluation(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, train=4, val_source=None)
    assert run(config, "common.lr_scheduler.max_iter=1") == 0
    load(config.parent / "ckpt.pth.tar", device="cpu")
    assert checkpoint.load(config.parent / "ckpt.pth.tar")["preprocessing"]["interpolation"] == "auto"


def test_a_classifier_that_no_training_has_filled_is_never_scored(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--new-head starts a classifier that is not trained, so --evaluate"):
        run(trained, "--evaluate", "--new-head")
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    image = ["--evaluate", "--load-path", str(tmp_path / "resnet18.pth"), "common.model.backbone=resnet18"]
    with pytest.raises(CheckpointError, match=r"resnet18\.pth: has no classifier for these classes"):
        run(trained, *image, "common.model.kwargs={}")
    best = checkpoint.load(trained.parent / "ckpt_best.pth.tar")
    best["state_dict"] = {key: value for key, value in best["state_dict"].items() if "head" not in key}
    torch.save(best, tmp_path / "headless.pth")
    with pytest.raises(CheckpointError, match=r"headless\.pth: has no classifier for these classes"):
        run(trained, "--evaluate", "--not-strict", "--load-path", str(tmp_path / "headless.pth"))


@pytest.mark.parametrize("store", [{"type": "disk"}, {"type": "video", "fps": 4.0}])
def test_the_seconds_that_videos_are_shown_for_are_part_of_the_protocol(store: dict[str, Any], tmp_path: Path) -> None:
    from datasets.protocol import clip_protocol
    from methods.build import build_method
    from methods.weights import compare_protocol
    from networks.checkpoints.load import load_checkpoint_file
    from utils.config.file import stored_config

    path = write_checkpoint(tmp_path, TSN)
    saved = checkpoint.load(path)
    common = stored_config(saved["config"], path)
    common = common.model_copy(update={"data": common.data.model_copy(update={"store": store})})
    protocol = clip_protocol(common, build_method(common.model).clip, train=False).as_dict()
    torch.save({**saved, "preprocessing": {**protocol, "video_sampling": {"fps": 8.0}}}, path)
    wrong, chosen = compare_protocol(load_checkpoint_file(path), protocol, common.test)
    assert len(wrong) == 1 and wrong[0].startswith("video_sampling is {'fps': 8.0} in the file") and not chosen


def decoded_on_a_gpu(trained: Path, path: Path) -> Path:
    """Writes the checkpoint of an experiment as a run with data.decode: cuda leaves it."""
    saved = torch.load(trained.parent / "ckpt.pth.tar", weights_only=True)
    assert saved["preprocessing"]["decode"] == "cpu"
    saved["preprocessing"]["decode"] = "cuda"
    torch.save(saved, path)
    return path


def test_where_frames_are_decoded_is_compared_and_a_difference_is_a_warning(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = decoded_on_a_gpu(trained, tmp_path / "cuda.pth.tar")
    notes = [note for note in load(path, device="cpu").notes if note.startswith("decode")]
    assert notes == ["decode is cuda in the file and cpu here: colours differ slightly, and scores may"]
    for given, said in (
        ([], "warning: decode is cuda in the file and cpu here"),
        (["common.data.decode=auto"], "warning: decode is cuda in the checkpoint and cpu here"),
        (["common.data.decode=auto", "--dry-run"], ""),
    ):
        capsys.readouterr()
        assert run(trained, "--evaluate", "--load-path", str(path), "common.device=cpu", *given) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "decode is" in line]
        assert [said in line for line in told] == [True] * bool(said)


def test_an_evaluation_says_how_its_list_differs_from_the_one_that_the_training_validated_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_experiment(tmp_path, train=4, val=4)
    assert run(config, "common.lr_scheduler.max_iter=1") == 0
    source = tmp_path / "lists/val.txt"
    lines = source.read_text().splitlines(keepends=True)

    def said(*given: str) -> list[str]:
        capsys.readouterr()
        assert run(config, "--evaluate", *given) == 0
        printed = capsys.readouterr().out.splitlines()
        return [line.partition("since it was written, ")[2] for line in printed if "since it was written" in line]

    assert said() == []
    source.write_text("".join(lines[1:]))
    assert said() == ["the val list has changed: 4 -> 3 videos"]
    assert said(f"common.val_source={tmp_path / 'lists/train.txt'}") == [], "another list is asked for"
    source.write_text("".join(lines))
    header = {"kind": "header", "format": 1, "tool": "dump_frames", "size": [0, 256]}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(header) + "\n")
    assert said() == [], "nothing was known of how the frames were made"


def test_a_member_of_a_fusion_is_decoded_where_this_run_decodes(trained: Path, tmp_path: Path) -> None:
    path = decoded_on_a_gpu(trained, tmp_path / "cuda.pth.tar")
    saved = torch.load(path, weights_only=True)
    saved["config"]["common"].setdefault("data", {})["decode"] = "cuda"
    torch.save(saved, path)
    assert run(trained, "--evaluate", "--fusion-list", str(path), str(trained.parent / "ckpt.pth.tar")) == 0


def test_a_dry_run_refuses_weights_that_the_run_could_not_load(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 cut off")
    torch.save(resnet18().state_dict(), tmp_path / "other.pth")
    for start in ([], ["--evaluate"]):
        with pytest.raises(CheckpointError, match=r"damaged\.pth: damaged"):
            run(trained, "--dry-run", "--fresh", *start, *named(tmp_path / "damaged.pth", start))
        with pytest.raises(CheckpointError, match=r"other\.pth: .* does not fit tsm_mobilenetv2"):
            run(trained, "--dry-run", "--fresh", *start, *named(tmp_path / "other.pth", start))
        assert run(trained, "--dry-run", "--fresh", *start, *named(trained.parent / "ckpt.pth.tar", start)) == 0


def named(path: Path, start: list[str]) -> list[str]:
    """The argument that names weights: where a training starts, or what is evaluated."""
    return ["--load-path", str(path)] if start else [f"common.model.pretrained={path}"]


def test_a_dry_run_is_about_the_weights_that_the_run_would_start_from(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = f"common.model.pretrained={tmp_path / 'lacks.pth'}"
    assert run(trained, "--dry-run", "--fresh", lacks) == 0
    assert "lacks.pth does not exist" in capsys.readouterr().out
    assert run(trained, "--dry-run", "--fresh", "--load-path", str(trained.parent / "ckpt.pth.tar"), lacks) == 0
    assert "lacks.pth does not exist" not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"the run here cannot go on: has 2 classes and the model 7"):
        run(trained, "--dry-run", "common.model.num_class=7")
    saved = torch.load(trained.parent / "ckpt.pth.tar", weights_only=True)
    torch.save({key: value for key, value in saved.items() if key != "optimizer"}, tmp_path / "bare.pth.tar")
    config = make_experiment(tmp_path / "new", train=4, val=2)
    assert run(config, "--dry-run", "--load-path", str(tmp_path / "bare.pth.tar")) == 0
    with pytest.raises(CheckpointError, match="`optimizer` is missing"):
        run(config, "--dry-run", "--load-path", str(tmp_path / "bare.pth.tar"), "--recover")
    members = [str(trained.parent / "ckpt.pth.tar"), str(tmp_path / "bare.pth.tar")]
    assert run(config, "--dry-run", "--evaluate", "--fusion-list", *members) == 0
    with pytest.raises(UserError, match=r"lacks\.npz"):
        run(trained, "--dry-run", "--evaluate", "--fusion-list", *[str(tmp_path / "lacks.npz")] * 2)


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry run", "run"])
def test_a_member_of_a_fusion_that_contradicts_itself_is_refused_before_anything_is_scored(
    more: list[str], trained: Path, tmp_path: Path
) -> None:
    saved = torch.load(trained.parent / "ckpt.pth.tar", weights_only=True)
    saved["preprocessing"] |= {"mean": [0.5, 0.5, 0.5]}
    torch.save(saved, tmp_path / "changed.pth.tar")
    members = [str(trained.parent / "ckpt.pth.tar"), str(tmp_path / "changed.pth.tar")]
    with pytest.raises(CheckpointError, match=r"changed\.pth\.tar: .*mean is \[0\.5, 0\.5, 0\.5\] in the file"):
        run(trained, "--evaluate", "--fusion-list", *members, *more)


@needs_package("timm")
def test_a_run_says_once_that_layer_scale_hides_the_shift_and_by_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"type": "tsm", "backbone": "timm/convnext_atto", "num_segments": 2, "num_class": 2}
    config = make_experiment(tmp_path, train=4, val=2, model=model)
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    words = "the branches of tsm_timm/convnext_atto are scaled by 1e-06 (layer scale)"
    assert capsys.readouterr().out.count(words) == 1
    assert [words in note for note in checkpoint.load(config.parent / checkpoint.NEWEST)["notes"]].count(True) == 1


@needs_package("timm")
def test_a_network_that_has_learned_its_layer_scale_or_has_none_is_not_warned_of() -> None:
    method = TSM(backbone="timm/convnext_atto", num_class=2)
    assert "by 1e-06" in (faint_module(method) or "")
    for key, value in method.named_parameters():
        if key.endswith("gamma"):
            torch.nn.init.constant_(value, 0.3)
    assert faint_module(method) is None
    assert faint_module(TSM(backbone="resnet18", num_class=2)) is None
    without = TSM(backbone="timm/convnext_atto", num_class=2, shift_div=0)
    assert faint_module(without) is None
