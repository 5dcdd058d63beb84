"""Files under second names for networks that are built here, and files of networks that are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from methods.tsn import TSN
from networks.checkpoints.layouts import identify_image
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.image.mobilenet import MobileNetV2, mobilenet_v2
from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import run_tool
from tests.networks.checkpoints.layouts import official_names_2d as official

State = dict[str, Tensor]


def _counting(state: State) -> State:
    """Other numbers in every entry, so that two which are mistaken for each other are seen."""
    return {key: torch.full(value.shape, 1.0 + place) for place, (key, value) in enumerate(state.items())}


# --- MobileNetV2 as tonylins and MIT name it


def test_a_mobilenet_in_tonylins_names_fills_the_backbone(tmp_path: Path) -> None:
    method = TSN(backbone="mobilenetv2", num_class=3, kwargs={"scale": 0.25})
    wanted = _counting({key: value for key, value in method.state_dict().items() if key.startswith("backbone.")})
    mit = official.mit({**wanted, "head.weight": torch.ones(5, 1280), "head.bias": torch.ones(5)}, {}, shifted=False)
    body = "module.base_model."
    flat = {key.removeprefix(body): value for key, value in mit.items() if key.startswith(body)}
    assert "features.2.conv.4.running_mean" in flat
    torch.save(
        {**flat, "classifier.weight": torch.ones(1000, 1280), "classifier.bias": torch.ones(1000)}, tmp_path / "m.pth"
    )
    file = load_checkpoint_file(tmp_path / "m.pth")
    assert file.description.backbone == "mobilenetv2" and file.description.arguments["kwargs"] == {"scale": 0.25}
    load_into(method, file)
    found = method.state_dict()
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in wanted.items())


@pytest.mark.parametrize("kwargs", [{"t": 2, "scale": 0.35}, {"scale": 1.4}])
def test_the_widths_of_a_mobilenet_are_found_by_building_one(
    kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[float] = []

    def build(*, t: int, scale: float) -> MobileNetV2:
        built.append(scale)
        return mobilenet_v2(t=t, scale=scale)

    with torch.device("meta"):
        state = mobilenet_v2(**kwargs).state_dict()
    identify_image._mobilenet_v2_shapes.cache_clear()
    monkeypatch.setattr(identify_image, "mobilenet_v2", build)
    head = {"head.weight": torch.ones(5, 1280), "head.bias": torch.ones(5)}
    description = identify_image.describe_image_network(state, head)
    assert (description.backbone, description.arguments.get("kwargs", {})) == ("mobilenetv2", kwargs)
    assert len(built) == 1


# --- EfficientNet


def _lukemelas(state: State) -> State:
    """The names of EfficientNet-PyTorch for timm's entries."""
    blocks = list(dict.fromkeys(match[0] for key in state if (match := re.match(r"blocks\.\d+\.\d+\.", key))))
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    wide = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    wide |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    shared = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    renamed: State = {}
    for key, value in state.items():
        block = next((name for name in blocks if key.startswith(name)), "")
        module, _, last = key.removeprefix(block).rpartition(".")
        names = outside if not block else shared | (wide if f"{block}conv_pwl.weight" in state else plain)
        renamed[(f"_blocks.{blocks.index(block)}." if block else "") + f"{names[module]}.{last}"] = value
    return renamed


@pytest.mark.whole
@needs_package("timm")
@pytest.mark.parametrize("variant", ["b0", *(pytest.param(name, marks=pytest.mark.alike) for name in ("b2", "lite3"))])
def test_an_efficientnet_in_lukemelas_names_fills_timms(variant: str, tmp_path: Path) -> None:
    import timm

    with torch.device("meta"):
        image = timm.create_model(f"tf_efficientnet_{variant}")
    state = _counting(dict(image.state_dict()))
    torch.save(_lukemelas(state), tmp_path / "efficientnet.pth")
    file = load_checkpoint_file(tmp_path / "efficientnet.pth")
    assert file.description.backbone == f"timm/tf_efficientnet_{variant}"
    method = TSN(backbone=file.description.backbone, num_class=3)
    report = load_into(method, file)
    found = method.state_dict()
    assert all(
        torch.equal(found[f"backbone.{key}"], value.to(found[f"backbone.{key}"].dtype))
        for key, value in state.items()
        if not key.startswith("classifier.")
    )
    assert any("TensorFlow's padding" in note for note in report.notes)


# --- classifiers in a sequence


def _in_sequence(state: State, head: str) -> State:
    return {
        key.replace(f"{head}.", f"{head}.1.") if key.startswith(f"{head}.") else key: value
        for key, value in state.items()
    }


HEADS: list[tuple[str, dict[str, Any], str]] = [
    ("r3d_18", {}, "fc"),
    ("resnet18_3d", {}, "fc"),
]


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("backbone", "arguments", "head"), HEADS)
def test_a_classifier_behind_a_dropout_in_a_sequence_is_found(
    backbone: str, arguments: dict[str, Any], head: str, tmp_path: Path
) -> None:
    made = Clip3D(backbone=backbone, num_class=7, **arguments)
    torch.save(_in_sequence(dict(made.network.state_dict()), head), tmp_path / "x.pth")
    file = load_checkpoint_file(tmp_path / "x.pth")
    assert (file.description.backbone, file.description.arguments["num_class"]) == (backbone, 7)
    assert "fc.1: the classifier, taken out of the sequence that it is in" in file.description.notes
    again = Clip3D(backbone=backbone, num_class=7, **arguments)
    load_into(again, file)
    assert torch.equal(again.head.weight, made.head.weight)


def test_mits_classifier_in_a_sequence_is_found(tmp_path: Path) -> None:
    made = TSN(backbone="resnet18", num_class=7)
    torch.save(_in_sequence(official.mit(made.state_dict(), {}, shifted=False), "new_fc"), tmp_path / "x.pth")
    again = TSN(backbone="resnet18", num_class=7)
    load_into(again, tmp_path / "x.pth")
    assert torch.equal(again.head.weight, made.head.weight)


@pytest.mark.whole
def test_a_classifier_of_several_layers_is_named(tmp_path: Path) -> None:
    state = _in_sequence(dict(Clip3D(backbone="r3d_18", num_class=7).network.state_dict()), "fc")
    torch.save({**state, "fc.3.weight": torch.ones(7, 7), "fc.3.bias": torch.ones(7)}, tmp_path / "x.pth")
    error = run_tool("convert_checkpoint", tmp_path / "x.pth", tmp_path / "out", code=2).stderr
    assert "x.pth: its classifier is not one layer" in error and "fc.3.bias" in error and "config.yaml" not in error
