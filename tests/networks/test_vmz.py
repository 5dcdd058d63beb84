"""`from vmz.models import ir_csn_152` as VMZ's README writes it, and the hub's entry points."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hubconf
import vmz.models
from networks import CLIP_NETWORKS
from tests.requirements import ROOT
from utils.errors import CheckpointError, ConfigError
from vmz.models import PUBLISHED, available_pretrainings, mc3_18, r2plus1d_34


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
        url = PUBLISHED[name][pretraining]
        message = rf"{url.rpartition('/')[2]}: not there; download it from {url}" if url else "never published"
        with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
            getattr(vmz.models, name)(pretraining=pretraining, folder=tmp_path)


def test_an_unknown_pretraining_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="'imagenet' is unknown; there are kinetics_8frms, kinetics_32frms, ig65m_8frms"
    ):
        r2plus1d_34("imagenet")
    with pytest.raises(ConfigError, match="vmz has no 'ir_csn_50'"):
        available_pretrainings("ir_csn_50")


def test_the_files_classifier_is_kept_unless_another_width_is_asked_for(tmp_path: Path) -> None:
    published = mc3_18(num_classes=359)
    torch.save(published.state_dict(), tmp_path / PUBLISHED["mc3_18"]["kinetics_16frms"].rpartition("/")[2])
    kept = mc3_18("kinetics_16frms", folder=tmp_path)
    assert torch.equal(kept.fc.weight, published.fc.weight)
    replaced = mc3_18("kinetics_16frms", num_classes=7, folder=tmp_path)
    assert replaced.fc.weight.shape == (7, 512)
    assert torch.equal(replaced.layer4[1].conv2[0].weight, published.layer4[1].conv2[0].weight)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = CLIP_NETWORKS["r3d_18"](num_class=4)
    torch.save(other.state_dict(), tmp_path / PUBLISHED["mc3_18"]["kinetics_16frms"].rpartition("/")[2])
    with pytest.raises(CheckpointError, match="does not fit clip3d_mc3_18"):
        mc3_18("kinetics_16frms", folder=tmp_path)


def test_the_hub_lists_and_builds_every_clip_network() -> None:
    public = {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}
    assert public == {"slowfast", *CLIP_NETWORKS}
    with torch.device("meta"):
        net = torch.hub.load(str(ROOT), "slow_r50", source="local", num_class=9)
    assert net.fc.out_features == 9
