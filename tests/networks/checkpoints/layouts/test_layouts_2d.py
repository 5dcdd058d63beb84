"""Checkpoints of TSN, TSM and image networks: published scores, and further models of each family by their names."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods import METHODS
from methods.base import Method
from methods.tsn import TSN
from networks.checkpoints.load import RawCheckpoint, load_checkpoint_file, load_into
from tests.golden import fill
from tests.helpers.publish import noted
from tests.helpers.requirements import ROOT, needs_package
from tests.networks.checkpoints.layouts import official_names_2d as official
from tests.networks.checkpoints.layouts.official_names import wrapped

GOLDEN = ROOT / "tests" / "golden" / "models"
TOLERANCE = 1e-4  # of the scores' spread; rounding is below 1e-5, one missing shift costs 4e-2
VIDEO = {
    "mit_tsm__resnet50_shift8_blockres_seg8": ("tsm", "resnet50", 400),
    "mit_tsm__tsn_resnet50_seg8": ("tsn", "resnet50", 400),
    "mmaction2__tsn_r50_1x1x3": ("tsn", "resnet50", 400),
    "tsn_pytorch__resnet101_seg3": ("tsn", "resnet101", 101),
    "mmaction2__tanet_r50_1x1x8_sthv1": ("tsn", "resnet50", 174),
}
TEMPORAL = {
    "liu_zhy_tam__tanet_resnet50_seg8": ("tsn", "resnet50", 400),
    "mmaction2__tin_r50_1x1x8_sthv1": ("tsn", "resnet50", 174),
    "mvfnet__resnet50_8x8": ("tsn", "resnet50", 400),
    "action_net__resnet50_seg8": ("tsn", "resnet50", 174),
    "gsf__resnet50_seg8_ratio100": ("tsn", "resnet50", 174),
    "tea__tea50_seg8": ("tsn", "timm/res2net50_26w_4s", 174),
}
LONG = [pytest.param(name, marks=[pytest.mark.long, needs_package("timm")]) for name in TEMPORAL]
IMAGE = [
    ("mobilenet_v2", "mobilenetv2"),
    ("resnet18", "resnet18"),
    *(pytest.param(f"resnet{depth}", f"resnet{depth}", marks=pytest.mark.long) for depth in (50, 101, 152)),
]


RELATIONS = [
    "trn_pytorch__resnet50_trn_seg3",
    "trn_pytorch__resnet50_trnmultiscale_seg8",
    "mmaction2__trn_r50_1x1x8_sthv1",
]


def _official_file(name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """A file like the published one, and what its project's code says about it."""
    doc = json.loads((GOLDEN / f"{name}.json").read_text())
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    state = {doc["file"]["key_prefix"] + key: torch.from_numpy(np.asarray(value)) for key, value in entries.items()}
    torch.save(wrapped(doc["file"]["state_dict_path"], state), folder / "file.pth")
    return doc, folder / "file.pth"


def _build(file: RawCheckpoint) -> Method:
    return METHODS[file.description.method](backbone=file.description.backbone, **file.description.arguments)


def _error(method: Method, doc: dict[str, Any], *, rgb: bool = False) -> float:
    """How far scores are from the published ones. rgb: turns the colours of the clip, which are BGR there."""
    method.eval()
    with torch.no_grad():
        clips = torch.from_numpy(fill.make_input(doc["input"]["shape_NCTHW"]))
        clips = clips.flip(1) if rgb else clips
        stacks = clips.unflatten(2, (-1, method.clip.stack)).permute(0, 3, 1, 2, 4, 5).flatten(1, 2)
        scores = method(stacks).numpy()
    return float(np.abs(scores - np.array(doc["logits"])).max() / doc["logits_std"])


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "name", [*VIDEO, *(pytest.param(name, marks=[pytest.mark.long, needs_package("timm")]) for name in TEMPORAL)]
)
def test_a_published_file_tells_its_network_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    doc, path = _official_file(name, tmp_path)
    file = load_checkpoint_file(path)
    method, backbone, num_class = (VIDEO | TEMPORAL)[name]
    assert (file.description.method, file.description.backbone) == (method, backbone)
    assert file.description.arguments["num_class"] == num_class
    built = _build(file)
    report = load_into(built, path)
    assert len(report.matched) == len(doc["state_entries"]) and not report.missing and not report.unexpected
    assert sum(value.numel() for value in built.parameters()) == doc["num_parameters"]
    assert _error(built, doc) < TOLERANCE


@pytest.mark.long
def test_a_file_of_tpn_gives_its_published_scores_without_its_auxiliary_head(tmp_path: Path) -> None:
    doc, path = _official_file("mmaction2__tpn_tsm_r50_1x1x8_sthv1", tmp_path)
    file = load_checkpoint_file(path)
    assert (file.description.method, file.description.arguments["neck"]) == ("tsm", "tpn")
    built = _build(file)
    report = load_into(built, path)
    assert not report.missing and not report.unexpected and any("aux_head" in note for note in report.notes)
    left = sum(math.prod(size) for key, size, _ in doc["state_entries"] if re.search(r"aux_head.*(weight|bias)", key))
    assert sum(value.numel() for value in built.parameters()) == doc["num_parameters"] - left
    assert _error(built, doc) < TOLERANCE


@pytest.mark.long
def test_a_file_of_tdn_gives_its_published_scores_though_no_convolution_here_has_its_biases(tmp_path: Path) -> None:
    doc, path = _official_file("tdn__resnet50_seg8", tmp_path)
    file = load_checkpoint_file(path)
    assert file.description.arguments["temporal"] == {"name": "tdn"}
    built = _build(file)
    report = load_into(built, path)
    assert not report.missing and not report.unexpected
    assert any("conv1_temp" in note for note in report.notes)
    sizes = {key: math.prod(shape) for key, shape, _ in doc["state_entries"]}
    left = {key for key in sizes if re.search(r"(conv\d|downsample\.0)\.bias$|conv1_temp", key)}
    assert sum(value.numel() for value in built.parameters()) == doc["num_parameters"] - sum(sizes[k] for k in left)
    assert _error(built, doc) < TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("name", RELATIONS)
def test_a_file_of_trn_gives_its_published_scores_for_the_relations_drawn_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc, path = _official_file(name, tmp_path)
    file = load_checkpoint_file(path)
    multiscale = "multiscale" in name or "mmaction2" in name
    assert file.description.arguments["consensus"] == ("trn_multiscale" if multiscale else "trn")
    built = _build(file)
    report = load_into(built, path)
    assert not report.missing and not report.unexpected
    assert isinstance(built, TSN) and built.relations is not None
    if multiscale:
        draws = iter(doc["extra_outputs"]["relation_draws"]["values"])
        monkeypatch.setattr(
            built.relations,
            "_choose",
            lambda relations, count: relations if len(relations) == 1 else [relations[at] for at in next(draws)[2]],
        )
    assert _error(built, doc) < TOLERANCE


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("published", "backbone"), IMAGE)
def test_an_image_networks_file_fills_the_backbone_and_gives_its_scores(
    published: str, backbone: str, tmp_path: Path
) -> None:
    doc, path = _official_file(f"torchvision__{published}_image", tmp_path)
    method = METHODS["tsn"](backbone=backbone, num_class=1000)
    before = method.head.weight.clone()
    report = load_into(method, path)
    assert not report.missing and not report.unexpected
    assert torch.equal(method.head.weight, before)
    weight, bias = [*torch.load(path).values()][-2:]
    assert isinstance(method.head, nn.Linear)
    method.head.load_state_dict({"weight": weight, "bias": bias})
    assert _error(method, doc) < TOLERANCE


# --- other models of the families: built, written under the project's names, recognised, loaded, run

R18, MBV2 = "resnet18", "mobilenetv2"
NL = {"non_local": True}
MODELS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("mit", "tsm", R18, {}),
    ("mit", "tsm", "resnet101", {}),
    ("mit", "tsm", R18, {"shift_place": "block"}),
    ("mit", "tsm", "resnet50", NL),
    ("mit", "tsm", "resnet50", {"temporal_pool": True}),
    ("mit", "tsm", "resnet50", {"temporal_pool": True, **NL}),
    ("mit", "tsm", MBV2, {}),
    ("mit", "tsm", "resnet50", {"kwargs": {"groups": 32, "width_per_group": 4}}),
    ("mit", "tsm", R18, {"modality": "flow", "stack": 5}),
    ("mit", "tsn", "resnet34", {}),
    ("mit", "tsn", R18, {"modality": "rgbdiff", "stack": 5}),
    ("mit", "tsn", MBV2, {"kwargs": {"t": 4, "scale": 0.5}}),
    ("mmaction2", "tsm", R18, {}),
    ("mmaction2", "tsm", "resnet101", {}),
    ("mmaction2", "tsm", R18, {"shift_place": "block"}),
    ("mmaction2", "tsm", "resnet50", NL),
    ("mmaction2", "tsm", "resnet50", {"non_local": "gaussian"}),
    ("mmaction2", "tsm", MBV2, {}),
    ("mmaction2", "tsn", MBV2, {}),
    ("mmaction2", "tsn", R18, {"modality": "flow", "stack": 5}),
]


def _randomise(method: Method) -> None:
    """Norms away from their initial values, or a wrong place would go unseen."""
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("project", "name", "backbone", "arguments"), MODELS)
def test_each_model_of_a_family_tells_its_arguments_and_computes_the_same(
    project: str, name: str, backbone: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    made = METHODS[name](backbone=backbone, num_class=7, **arguments).eval()
    _randomise(made)
    state = getattr(official, project)(made.state_dict(), arguments, shifted=name == "tsm")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "file.pth.tar")
    file = load_checkpoint_file(noted(tmp_path / "file.pth.tar"))
    assert (file.description.method, file.description.backbone) == (name, backbone)
    told = file.description.arguments
    assert told["num_class"] == 7
    for key in ("shift_place", "non_local", "temporal_pool", "modality", "stack", "kwargs"):
        assert told.get(key) == (arguments.get(key) or ("blockres" if (key, name) == ("shift_place", "tsm") else None))
    built = _build(file).eval()
    report = load_into(built, file)
    assert not report.missing and not report.unexpected and not report.warnings
    clip = torch.randn(1, made.clip.in_channels, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(built(clip), made(clip), rtol=0, atol=0)


@pytest.mark.parametrize("project", ["mit", "mmaction2"])
def test_torchvisions_and_timms_networks_inside_a_project_keep_their_names(project: str, tmp_path: Path) -> None:
    made = METHODS["tsn"](backbone="efficientnet_b0", num_class=7)
    names = {"mit": ("base_model.", "new_fc."), "mmaction2": ("backbone.", "cls_head.fc_cls.")}[project]
    parts = (("backbone.", names[0]), ("head.", names[1]))
    state = {
        key.replace(ours, theirs, 1): value
        for ours, theirs in parts
        for key, value in made.state_dict().items()
        if key.startswith(ours)
    }
    torch.save({"state_dict": state}, tmp_path / "file.pth")
    built = METHODS["tsn"](backbone="efficientnet_b0", num_class=7)
    report = load_into(built, tmp_path / "file.pth")
    assert len(report.matched) == len(made.state_dict())


def test_dropout_zero_in_tsn_pytorch_leaves_the_classifier_in_the_network(tmp_path: Path) -> None:
    made = METHODS["tsn"](backbone="mobilenetv2", num_class=7)
    state = official.mit(made.state_dict(), {}, shifted=False)
    state = {key.replace("new_fc.", "base_model.classifier."): value for key, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "file.pth.tar")
    built = METHODS["tsn"](backbone="mobilenetv2", num_class=7)
    assert not load_into(built, tmp_path / "file.pth.tar").missing
    assert isinstance(built.head, nn.Linear) and isinstance(made.head, nn.Linear)
    assert torch.equal(built.head.weight, made.head.weight)


@pytest.mark.whole
def test_old_densenet_names_and_auxiliary_classifiers_are_understood(tmp_path: Path) -> None:
    made = METHODS["tsn"](backbone="densenet121", num_class=7)
    state: dict[str, Tensor] = {}
    for key, value in made.backbone.state_dict().items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in key:
                    key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        state[key] = value
    state |= {"classifier.weight": torch.zeros(1000, 1024), "classifier.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "densenet121-a639ec97.pth")
    assert not load_into(
        METHODS["tsn"](backbone="densenet121", num_class=7), tmp_path / "densenet121-a639ec97.pth"
    ).missing

    inception = METHODS["tsn"](backbone="googlenet", num_class=7)
    state = {
        **inception.backbone.state_dict(),
        "aux1.fc2.weight": torch.zeros(1000, 8),
        "fc.weight": torch.zeros(1000, 1024),
    }
    torch.save({**state, "fc.bias": torch.zeros(1000)}, tmp_path / "googlenet-1378be20.pth")
    assert not load_into(
        METHODS["tsn"](backbone="googlenet", num_class=7), tmp_path / "googlenet-1378be20.pth"
    ).unexpected


NAMES = [
    ("TSM_kinetics_RGB_resnet50_shift4_blockres_avg_segment16_e50", {}, {"shift_div": 4, "num_segments": 16}, ""),
    ("TSM_somethingv2_RGB_resnet50_shift8_block_avg_segment8_e45", {"shift_place": "block"}, {"shift_div": 8}, ""),
    ("TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50_nl", NL, {"non_local": True}, ""),
    ("TSM_x_RGB_resnet50_shift2_blockres_tpool_avg_segment8", {"temporal_pool": True}, {"shift_div": 2}, ""),
    ("TSM_x_RGB_resnet50_shift8_block_avg_segment8", {}, {}, "says block, its weights show blockres"),
    ("TSM_x_RGB_resnet50_shift8_blockres_nl", {}, {}, "says True, its weights show False"),
]


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(("name", "arguments", "told", "note"), NAMES)
def test_the_name_of_mits_file_tells_what_its_weights_do_not_show(
    name: str, arguments: dict[str, Any], told: dict[str, Any], note: str, tmp_path: Path
) -> None:
    with torch.device("meta"):
        made = METHODS["tsm"](backbone="resnet50", num_class=2, **arguments).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in made.items()}
    torch.save({"state_dict": official.mit(state, arguments, shifted=True)}, tmp_path / f"{name}.pth")
    description = load_checkpoint_file(tmp_path / f"{name}.pth").description
    assert told.items() <= description.arguments.items() and "shift_div" not in description.assumed
    notes = "\n".join(description.notes)
    assert "from the name of the file, as MIT's test script reads it" in notes and note in notes
    assert bool(note) == ("which counts" in notes)
