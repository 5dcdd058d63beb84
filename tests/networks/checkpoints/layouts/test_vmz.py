"""`from vmz.models import ir_csn_152` as VMZ's README writes it, and the hub's entry points."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import hubconf
import vmz.models
from methods.hub import DETECTORS, PYTORCHVIDEO
from networks import CLIP_NETWORKS
from networks.checkpoints.layouts.vmz import LAYOUT
from tests.helpers.requirements import ROOT
from utils.errors import CheckpointError
from utils.published.registry import entry
from vmz.models import PUBLISHED, available_pretrainings, mc3_18, r2plus1d_34


@pytest.mark.whole
def test_a_name_without_weights_builds_a_random_network() -> None:
    with torch.device("meta"):
        networks = {name: getattr(vmz.models, name)() for name in PUBLISHED}
    counts = {name: sum(parameter.numel() for parameter in net.parameters()) for name, net in networks.items()}
    assert counts["ir_csn_152"] == 29_703_568 and counts["ip_csn_152"] == 33_016_592
    assert counts["r2plus1d_34"] == 63_697_175 and counts["r2plus1d_152"] == 118_226_785
    assert type(networks["ir_csn_152"].stem[-1]).__name__ == "MaxPool3d"
    assert type(networks["r2plus1d_34"].stem[-1]).__name__ == "ReLU"


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_absent_file_is_named_with_the_place_it_was_published_at(name: str, tmp_path: Path) -> None:
    for pretraining in available_pretrainings(name):
        published = PUBLISHED[name][pretraining]
        message = f"{entry(published).url}: cannot be reached" if published else "never published"
        with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
            getattr(vmz.models, name)(pretraining=pretraining, folder=tmp_path)


def test_an_unknown_pretraining_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match="r2plus1d_34: pretraining: 'imagenet' is unknown; known names: ig65m_32frms, ig65m_8frms",
    ):
        r2plus1d_34("imagenet")
    with pytest.raises(ValueError, match="architecture: 'ir_csn_50' is unknown; did you mean `ir_csn_152`"):
        available_pretrainings("ir_csn_50")


@pytest.mark.whole
def test_the_files_classifier_is_kept_unless_another_width_is_asked_for(tmp_path: Path) -> None:
    published = mc3_18(num_classes=359)
    torch.save(published.state_dict(), tmp_path / "mc3_18-a90a0ba3.pth")
    kept = mc3_18("kinetics_16frms", folder=tmp_path)
    assert torch.equal(kept.fc.weight, published.fc.weight)
    replaced = mc3_18("kinetics_16frms", num_classes=7, folder=tmp_path)
    assert replaced.fc.weight.shape == (7, 512)
    assert torch.equal(replaced.layer4[1].conv2[0].weight, published.layer4[1].conv2[0].weight)


@pytest.mark.whole
def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = CLIP_NETWORKS["r3d_18"](num_class=4)
    torch.save(other.state_dict(), tmp_path / "mc3_18-a90a0ba3.pth")
    with pytest.raises(CheckpointError, match="does not fit clip3d_mc3_18"):
        mc3_18("kinetics_16frms", folder=tmp_path)


def test_the_hub_lists_and_builds_every_clip_network() -> None:
    public = {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}
    assert public == {"slowfast", "published", *CLIP_NETWORKS, *PYTORCHVIDEO, *DETECTORS}
    with torch.device("meta"):
        net = torch.hub.load(str(ROOT), "slow_r50", source="local", num_class=9)
    assert net.fc.out_features == 9


def test_hub_names_every_package_that_its_networks_need() -> None:
    ours, needed, files = {"networks", "utils", "vmz", "methods"}, set(), [ROOT / "hubconf.py"]
    for file in files:  # grows while it is read
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for module in modules:
                path = ROOT / module.replace(".", "/")
                found = [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()]
                if module.split(".")[0] in ours:
                    files += [one for one in found if one not in files]
                elif module.split(".")[0] not in sys.stdlib_module_names:
                    needed.add(module.split(".")[0])
    others = {"timm", "safetensors", "huggingface_hub", "pydantic_core"}  # optional, and the last is part of pydantic
    assert needed - others == set(hubconf.dependencies)


@pytest.mark.whole
def test_batch_norm_has_caffe2s_eps_and_a_momentum_that_is_not_its_complement() -> None:
    with torch.device("meta"):
        for name in ("ir_csn_152", "ip_csn_152", "r2plus1d_34", "r2plus1d_152"):
            norms = [module for module in getattr(vmz.models, name)().modules() if isinstance(module, nn.BatchNorm3d)]
            assert norms and {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}, name


@pytest.mark.whole
@pytest.mark.parametrize("classes", [359, 487, 400])
def test_the_width_of_a_published_classifier_is_read_from_the_file(classes: int) -> None:
    for name in ("ir_csn_152", "ip_csn_152", "r2plus1d_34", "r2plus1d_152"):
        with torch.device("meta"):
            shapes = {
                key: value.shape for key, value in getattr(vmz.models, name)(num_classes=classes).state_dict().items()
            }
        state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
        assert LAYOUT.recognises(state)
        description = LAYOUT.convert(state, {})[1]
        assert (description.backbone, description.arguments["num_class"]) == (name, classes)


def test_the_hub_says_where_an_absent_file_was_published() -> None:
    with pytest.raises(CheckpointError, match=r"^https.*ig65m_from_scratch_f125286141\.pth: cannot be reached"):
        torch.hub.load(str(ROOT), "ir_csn_152", source="local", pretraining="ig65m_32frms", folder="nowhere")
