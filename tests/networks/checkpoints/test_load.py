"""Weights into models: found under any hash, loaded whole or not at all, and reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from methods.base import Method
from methods.tsm import TSM
from methods.tsn import TSN
from networks.checkpoints.load import fetch_image_weights, find_pretrained, load_into
from networks.checkpoints.trust import odd_values
from tests.helpers.publish import noted
from tests.helpers.requirements import needs_package
from utils.errors import CheckpointError


def _tsn(num_class: int = 5, **arguments: Any) -> TSN:
    return TSN(**{"backbone": "resnet18", "num_class": num_class, **arguments})


def _ours(method: Method, path: Path, **entries: Any) -> Path:
    state = {f"module.{key}": value for key, value in method.state_dict().items()}
    torch.save({"step": 7, "arch": method.name, "state_dict": state, "best_prec1": 1.0, **entries}, path)
    return path


def _same(one: Method, other: Method, *, but: str = "\0") -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items() if not key.startswith(but))


# --- pretrained/


def test_the_newest_file_of_an_architecture_is_found_under_any_hash(tmp_path: Path) -> None:
    for age, name in enumerate(["resnet50-0676ba61.pth", "resnet50-19c8e357.pth", "resnet18-f37072fd.pth"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "resnet50-folder.pth").mkdir()
    assert find_pretrained("resnet50", tmp_path) == tmp_path / "resnet50-0676ba61.pth"
    os.utime(tmp_path / "resnet50-19c8e357.pth", (2e9, 2e9))
    assert find_pretrained("resnet50", tmp_path) == tmp_path / "resnet50-19c8e357.pth"
    assert find_pretrained("resnet101", tmp_path) is None
    assert find_pretrained("resnet50", tmp_path / "absent") is None


def test_a_file_of_torchvision_is_not_taken_for_timms_network_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "resnet50-0676ba61.pth").touch()
    assert find_pretrained("timm/resnet50", tmp_path) is None
    (tmp_path / "resnet50-mine.pth").touch()  # nobody has published it: whoever put it there knows
    assert find_pretrained("timm/resnet50", tmp_path) == tmp_path / "resnet50-mine.pth"


def test_each_ending_that_files_are_published_with_is_found_and_the_newest_wins(tmp_path: Path) -> None:
    endings = [".pth", ".pth.tar", ".pt", ".pyth", ".pkl", ".safetensors"]
    for age, ending in enumerate(endings):
        path = tmp_path / f"resnet50-0676ba61{ending}"
        path.touch()
        os.utime(path, (1e9 + age, 1e9 + age))
        assert find_pretrained("resnet50", tmp_path) == path
    for name in ("resnet50-0676ba61.txt", "resnet50.pth", "resnet50-0676ba61.pth.part"):
        (tmp_path / name).touch()
    assert find_pretrained("resnet50", tmp_path) == tmp_path / "resnet50-0676ba61.safetensors"


@needs_package("timm")
@needs_package("safetensors")
def test_a_safetensors_file_whose_first_entry_is_another_kernel_serves_flow(tmp_path: Path) -> None:
    """Its entries are in alphabetical order: `blocks` stands in front of `conv_stem`."""
    import timm
    from safetensors.torch import save_file

    image = timm.create_model("mobilenetv3_small_050")
    save_file(dict(image.state_dict()), tmp_path / "mobilenetv3_small_050-lamb_in1k.safetensors")
    method = TSN(backbone="timm/mobilenetv3_small_050", num_class=5, modality="flow")
    report = load_into(method, fetch_image_weights(method.arch, tmp_path))
    kernel = method.state_dict()["backbone.conv_stem.weight"]
    assert torch.equal(kernel, image.conv_stem.weight.mean(1, keepdim=True).expand_as(kernel))
    assert any(note.startswith("conv_stem.weight: mean over RGB") for note in report.notes)


def test_pretrained_fills_the_backbone_and_keeps_the_classifier(tmp_path: Path) -> None:
    image = resnet18()
    torch.save(image.state_dict(), tmp_path / "resnet18-mine.pth")
    noted(tmp_path / "resnet18-mine.pth")
    method = _tsn()
    head = method.state_dict()["head.weight"].clone()
    report = load_into(method, fetch_image_weights(method.arch, tmp_path))
    assert torch.equal(method.state_dict()["backbone.layer4.1.conv2.weight"], image.layer4[1].conv2.weight)
    assert torch.equal(method.state_dict()["head.weight"], head)
    assert not report.warnings and "120 matched, 0 missing, 0 unexpected" in report.summary()


@pytest.mark.parametrize(
    ("backbone", "place"),
    [("resnet18", "resnet18-f37072fd.pth"), ("mobilenetv2", "mobilenet_v2-b0353104.pth"),
     ("timm/resnet10t", "timm/resnet10t.c3_in1k/model.safetensors")],
)  # fmt: skip
def test_without_a_network_nothing_is_trained_and_the_error_says_which_file_to_put_where(
    tmp_path: Path, backbone: str, place: str
) -> None:
    method = _tsn(backbone=backbone)
    with pytest.raises(CheckpointError) as refused:
        load_into(method, fetch_image_weights(method.arch, tmp_path))
    words = str(refused.value)
    assert words.startswith("http") and "cannot be reached (" in words and "\n" not in words
    assert words.endswith(f"; or put the file here as {tmp_path}/{place}")


def test_a_network_without_published_image_weights_says_what_is_possible(tmp_path: Path) -> None:
    from methods.clip3d import Clip3D

    with pytest.raises(CheckpointError, match=r"^nobody publishes image weights for this network$"):
        fetch_image_weights(Clip3D(backbone="r2plus1d_18", num_class=3).arch, tmp_path)


def test_pretrained_may_be_any_checkpoint_with_a_classifier_of_another_width(tmp_path: Path) -> None:
    source, method = _tsn(9), _tsn(5)
    report = load_into(method, _ours(source, tmp_path / "ckpt.pth.tar"), new_head=True)
    assert _same(method, source, but="head.")
    assert report.resized == [
        "head.weight: 9x512 in the file, 5x512 here, initialised anew",
        "head.bias: 9 in the file, 5 here, initialised anew",
    ]


def test_rgb_files_serve_stacks_of_flow_by_their_mean(tmp_path: Path) -> None:
    image = resnet18()
    torch.save(image.state_dict(), tmp_path / "resnet18-mine.pth")
    method = _tsn(modality="flow")
    report = load_into(method, fetch_image_weights(method.arch, tmp_path))
    kernel = method.state_dict()["backbone.conv1.weight"]
    assert torch.equal(kernel[:, 4], image.conv1.weight.mean(1))
    assert any("repeated for 10 channels" in note for note in report.notes)


# --- files of this and of the original project


def test_our_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    source, method = TSM(backbone="resnet18", num_class=5), TSM(backbone="resnet18", num_class=5)
    report = load_into(method, noted(_ours(source, tmp_path / "ckpt.pth.tar")))
    assert _same(method, source)
    assert report.layout == "this project" and not report.warnings


@pytest.mark.alike
@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.model."]
)
def test_wrappers_of_other_processes_are_taken_off(prefix: str, tmp_path: Path) -> None:
    source, method = _tsn(), _tsn()
    torch.save({"state_dict": {prefix + key: value for key, value in source.state_dict().items()}}, tmp_path / "x.pth")
    load_into(method, tmp_path / "x.pth")
    assert _same(method, source)


@pytest.mark.alike
@pytest.mark.parametrize("where", [None, "state_dict", "model_state", "model", "model_state_dict", "network"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_at_the_usual_places_in_both_formats_of_torch(
    where: str | None, zipped: bool, tmp_path: Path
) -> None:
    source, method = _tsn(), _tsn()
    state = dict(source.state_dict())
    contents = {where: state, "optimizer": {"state": {0: torch.zeros(3)}}, "epoch": 1} if where else state
    torch.save(contents, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    load_into(method, tmp_path / "x.pth")
    assert _same(method, source)


def test_files_from_before_torch_041_have_no_counters(tmp_path: Path) -> None:
    source, method = _tsn(), _tsn()
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    report = load_into(method, tmp_path / "x.pth")
    assert not report.missing and any("20 counters" in note for note in report.notes)
    assert _same(method, source)


def test_half_precision_weights_become_the_models_precision(tmp_path: Path) -> None:
    source, method = _tsn(), _tsn()
    torch.save({"state_dict": source.half().state_dict()}, tmp_path / "x.pth")
    load_into(method, tmp_path / "x.pth")
    assert method.state_dict()["head.weight"].dtype is torch.float32
    assert torch.equal(method.state_dict()["head.weight"], source.state_dict()["head.weight"].float())


# --- what does not fit


def _drop_last(state: dict[str, Tensor]) -> None:
    for key in [*state][-30:]:
        del state[key]


def _reshape(state: dict[str, Tensor]) -> None:
    state["backbone.layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)


MISFITS: list[tuple[Callable[[dict[str, Tensor]], None], str]] = [
    (_drop_last, r"does not fit tsn_resnet18; only the model has backbone\.layer4.* and \d+ more; nothing was loaded"),
    (
        lambda state: state.update({"head.extra": torch.zeros(2)}),
        r"only the file has head\.extra 2; nothing was loaded",
    ),
    (
        lambda state: state.update({"odd.weight": torch.zeros(2)}),
        r"this project.* does not fit tsn_resnet18; only the file has odd\.weight 2; nothing was loaded",
    ),
    (_reshape, r"backbone\.layer1\.0\.conv1\.weight is 64x64x1x1 in the file, 64x64x3x3 in the model"),
]


@pytest.mark.whole
@pytest.mark.parametrize(("damage", "message"), MISFITS)
def test_a_file_that_does_not_fit_is_one_message_and_nothing_is_loaded(
    damage: Callable[[dict[str, Tensor]], None], message: str, tmp_path: Path
) -> None:
    state = dict(_tsn().state_dict())
    damage(state)
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    method = _tsn()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as error:
        load_into(method, tmp_path / "x.pth")
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.whole
def test_another_architecture_is_told_with_both_sides_first_keys(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match=r"\(resnet18\) does not fit tsn_mobilenetv2; only the model has .*features"
    ):
        load_into(_tsn(backbone="mobilenetv2"), tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match=r"\(resnet18\) does not fit tsn_resnet34; only the model has .*layer1\.2"
    ):
        load_into(_tsn(backbone="resnet34"), tmp_path / "x.pth")


def test_what_is_missing_is_reported_where_strict_is_off(tmp_path: Path) -> None:
    source, method = _tsn(), _tsn()
    state = dict(source.state_dict())
    del state["backbone.conv1.weight"]
    state["backbone.odd.weight"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    report = load_into(method, tmp_path / "x.pth", strict=False)
    assert report.missing == ["backbone.conv1.weight"] and report.unexpected == ["backbone.odd.weight"]
    summary = report.summary()
    assert "missing: backbone.conv1.weight" in summary and "unexpected: backbone.odd.weight" in summary


def test_another_class_count_keeps_the_body_only_when_asked(tmp_path: Path) -> None:
    source, method = _tsn(400), _tsn(5)
    path = _ours(source, tmp_path / "ckpt.pth.tar")
    with pytest.raises(CheckpointError, match=r"has 400 classes and the model 5; .*--new-head"):
        load_into(method, path)
    wider = torch.load(path, weights_only=True)
    wider["state_dict"] = {key: value[:5] if "head." in key else value for key, value in wider["state_dict"].items()}
    weight = next(key for key in wider["state_dict"] if key.endswith("head.weight"))
    wider["state_dict"][weight] = wider["state_dict"][weight].repeat(1, 2)  # as that of another kind of head
    torch.save(wider, tmp_path / "wider.pth.tar")
    with pytest.raises(CheckpointError, match=r"head.weight is 5x1024 in the file, 5x512 in the model; .*--new-head"):
        load_into(method, tmp_path / "wider.pth.tar")
    head = method.state_dict()["head.weight"].clone()
    report = load_into(method, path, new_head=True)
    assert _same(method, source, but="head.") and torch.equal(method.state_dict()["head.weight"], head)
    assert len(report.resized) == 2


@pytest.mark.whole
def test_a_class_list_in_another_order_is_an_error(tmp_path: Path) -> None:
    source, method = _tsn(3), _tsn(3)
    path = _ours(source, tmp_path / "ckpt.pth.tar", class_names=["run", "sit", "walk"])
    load_into(method, path, class_names=["run", "sit", "walk"])
    load_into(method, path, class_names=["Run", "sit_", "walk"])  # as folders may spell them
    load_into(method, path)
    with pytest.raises(CheckpointError, match="another order: class 1 is 'sit' there, 'walk' in the list"):
        load_into(method, path, class_names=["run", "walk", "sit"])
    with pytest.raises(CheckpointError, match="other classes: class 2"):
        load_into(method, path, class_names=["run", "sit", "swim"])
    fresh = _tsn(3)
    head = fresh.state_dict()["head.weight"].clone()
    load_into(fresh, path, class_names=["run", "walk", "sit"], new_head=True)
    assert torch.equal(fresh.state_dict()["head.weight"], head) and _same(fresh, source, but="head.")


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("source", "target", "warning"),
    [
        ({}, None, "the file's network is tsm, this one is tsn"),
        ({"shift_place": "block"}, {}, "shift_place is block in the file and blockres here"),
        ({"shift_div": 4}, {}, "shift_div is 4 in the file and 8 here"),
        ({"shift": "uni"}, {}, "shift is uni in the file and bi here"),
    ],
)
def test_weights_that_fit_but_were_made_for_another_computation_are_refused_or_a_warning(
    source: dict, target: dict | None, warning: str, tmp_path: Path
) -> None:
    made = TSM(backbone="resnet18", num_class=5, **source)
    model = {"type": "tsm", "backbone": "resnet18", "num_class": 5, **source}
    path = _ours(made, tmp_path / "ckpt.pth.tar", config={"common": {"model": model}})
    method = _tsn() if target is None else TSM(backbone="resnet18", num_class=5, **target)
    with pytest.raises(CheckpointError, match=f"its scores would be others .*{warning}"):
        load_into(method, path)
    for start in ({"as_trained": False}, {"strict": False}, {"new_head": True}):
        report = load_into(method, path, **start)
        assert any(warning in text for text in report.warnings), report.warnings


def test_an_empty_model_is_never_the_result_of_a_file_without_matches(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 4, 3)
    torch.save({f"odd.{key}": value for key, value in conv.state_dict().items()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_into(_tsn(), tmp_path / "x.pth", strict=False)


def test_zeros_are_a_warning_but_where_parts_begin_as_zero() -> None:
    begun = {
        "backbone.blocks.3.temporal.mlp.time.weight": torch.zeros(8, 1, 3),
        "backbone.blocks.3.temporal.time.up.weight": torch.zeros(8, 2),
        "backbone.norm_pre.temporal.embedding.weight": torch.zeros(4, 8),
        "network.transformer.temporal_cls_token.weight": torch.zeros(1, 8),
    }
    assert odd_values(begun) == []
    (text,) = odd_values({**begun, "backbone.blocks.3.temporal.mlp.down.weight": torch.zeros(8, 2)})
    assert text == "backbone.blocks.3.temporal.mlp.down.weight: all zero, as in a file that has lost them"
