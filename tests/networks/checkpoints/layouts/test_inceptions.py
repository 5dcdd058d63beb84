"""Checkpoints of BN-Inception and Inception v3 inside TSN, TRN, GSM and GSF: their authors' scores, and RGB frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from methods import METHODS
from methods.tsn import TSN
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tests.networks.checkpoints.layouts import official_names_2d as official
from tests.networks.checkpoints.layouts.test_layouts_2d import TOLERANCE, _build, _error, _official_file

BLOCKS = ["mixed", *(f"mixed_{number}" for number in range(1, 11))]


@pytest.mark.long
def test_a_file_of_gsm_over_bn_inception_gives_its_published_scores_for_rgb(tmp_path: Path) -> None:
    doc, path = _official_file("gsm__bninception_seg8", tmp_path)
    file = load_checkpoint_file(path)
    assert (file.description.backbone, file.description.arguments["temporal"]) == ("bn_inception", {"name": "gsm"})
    built = _build(file)
    report = load_into(built, path)
    assert len(report.matched) == len(doc["state_entries"]) and not report.missing and not report.unexpected
    assert sum(value.numel() for value in built.parameters()) == doc["num_parameters"]
    assert _error(built, doc, rgb=True) < TOLERANCE


@pytest.mark.whole
@pytest.mark.parametrize("name", ["gsm", "gsf"])
def test_a_file_over_inception_v3_gives_its_authors_scores_with_the_gates_that_they_chose(
    name: str, tmp_path: Path
) -> None:
    doc, path = _official_file(f"{name}__inceptionv3_seg4", tmp_path)
    file = load_checkpoint_file(path.rename(tmp_path / "something-v1_RGB_InceptionV3_avg_segment4_checkpoint.pth.tar"))
    told = file.description.arguments
    stages = {"stages": [block for block in BLOCKS if block != "mixed_6"]} if name == "gsm" else {}
    assert told["temporal"] == {"name": name, **stages} and told.get("kwargs", {}) == (
        {"gates": "gsm"} if stages else {}
    )
    assert told["num_segments"] == 4 and not file.description.assumed  # from the name of the file
    built = METHODS["tsn"](backbone="inception_v3_tsn", **told)
    report = load_into(built, file)
    assert len(report.matched) == len(doc["state_entries"]) and not report.missing and not report.unexpected
    assert sum(value.numel() for value in built.parameters()) == doc["num_parameters"]
    assert _error(built, doc, rgb=True) < TOLERANCE
    augmentation = sections("MIT TSM or tsn-pytorch", file.description)["augmentation"]
    assert (augmentation["input_size"], augmentation["test_resize"]) == (229, 261)
    assert augmentation["mean"] == [0.501960784, 0.458823529, 0.407843137]


@pytest.mark.whole
def test_relations_and_image_weights_over_inception_v3_are_read_for_frames_of_299_pixels(tmp_path: Path) -> None:
    with torch.device("meta"):
        made = TSN(backbone="inception_v3_tsn", num_class=7, num_segments=3, consensus="trn")
    state = {  # as TRN-pytorch names a file of Moments in Time
        **{f"base_model.{_of_inception_v3(key)}": value for key, value in made.backbone.state_dict().items()},
        "new_fc.weight": torch.ones(256, 2048, device="meta"),
        "new_fc.bias": torch.ones(256, device="meta"),
        "consensus.classifier.1.weight": torch.ones(512, 768, device="meta"),
        "consensus.classifier.1.bias": torch.ones(512, device="meta"),
        "consensus.classifier.3.weight": torch.empty(7, 512, device="meta"),
        "consensus.classifier.3.bias": torch.ones(7, device="meta"),
    }
    state = {key: torch.empty_like(value, device="cpu").fill_(1) for key, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "file.pth.tar")
    file = load_checkpoint_file(tmp_path / "file.pth.tar")
    assert file.description.backbone == "inception_v3_tsn" and file.description.arguments["consensus"] == "trn"
    assert file.weights.keys() == made.state_dict().keys()
    assert sections("MIT TSM or tsn-pytorch", file.description)["augmentation"]["input_size"] == 299
    image = {
        key.removeprefix("base_model."): value[None] if "batchnorm" in key and value.dim() else value
        for key, value in state.items()
        if key.startswith("base_model.")
    }
    image |= {"top_cls_fc.weight": torch.ones(1000, 2048), "top_cls_fc.bias": torch.ones(1000)}
    torch.save(image, tmp_path / "image.pth")
    found = load_checkpoint_file(tmp_path / "image.pth")
    assert found.description.backbone == "inception_v3_tsn"
    assert {f"backbone.{key.removeprefix('backbone.')}" for key in found.weights} == {
        key for key in made.state_dict() if key.startswith("backbone.")
    }


def _of_inception_v3(key: str) -> str:
    """What tsn-pytorch calls an entry of ours: mixed_3.tower_conv.bn.bias is mixed_3_tower_conv_batchnorm.bias."""
    *path, part, last = key.split(".")
    return f"{'_'.join(path)}_{'Conv2D' if part == 'conv' else 'batchnorm'}.{last}"


@pytest.mark.whole
@pytest.mark.parametrize(
    ("arguments", "turned", "mean"),
    [
        ({}, True, [0.501960784, 0.458823529, 0.407843137]),
        ({"modality": "rgbdiff", "stack": 5}, True, [0.0, 0.0, 0.0]),
        ({"modality": "flow", "stack": 5}, False, [0.501960784, 0.501960784]),
    ],
)
def test_files_of_bn_inception_are_for_bgr_and_turn_to_rgb_when_they_are_read(
    arguments: dict[str, Any], turned: bool, mean: list[float], tmp_path: Path
) -> None:
    made = METHODS["tsn"](backbone="bn_inception", num_class=3, **arguments)
    state = official.mit(made.state_dict(), {}, shifted=False)
    for key, value in state.items():  # as the ImageNet file has its norms
        state[key] = value[None] if "_bn." in key and value.dim() else value
    torch.save({"state_dict": state}, tmp_path / "file.pth.tar")
    file = load_checkpoint_file(tmp_path / "file.pth.tar")
    built = _build(file)
    load_into(built, file)
    ours, theirs = (net.backbone.get_parameter("conv1_7x7_s2.weight") for net in (built, made))
    colours = theirs.unflatten(1, (-1, 3)).flip(2).flatten(1, 2) if turned else theirs
    assert torch.equal(ours, colours)
    assert any("pixels of 0..255 without their mean" in note for note in file.description.notes)
    augmentation = sections("MIT TSM or tsn-pytorch", file.description)["augmentation"]
    assert augmentation["mean"] == mean and augmentation["std"] == [0.003921569] * len(mean)
