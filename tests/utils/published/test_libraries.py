"""The image weights of torchvision and timm: their own addresses, hashes and licences."""

from __future__ import annotations

import pytest

from tests.helpers.requirements import needs_package
from utils.published.libraries import image_weights
from utils.published.registry import registry


@pytest.mark.parametrize(
    ("architecture", "file"),
    [("resnet50", "resnet50-0676ba61.pth"), ("mobilenet_v2", "mobilenet_v2-b0353104.pth"),
     ("densenet121", "densenet121-a639ec97.pth")],
)  # fmt: skip
def test_torchvisions_first_version_is_taken_with_its_hash(architecture: str, file: str) -> None:
    found = image_weights(architecture)
    assert found is not None and found.url == f"https://download.pytorch.org/models/{file}"
    assert found.sha256 == file.rpartition("-")[2].removesuffix(".pth") and not found.cautions


def test_weights_with_a_licence_of_their_own_keep_it() -> None:
    found = image_weights("vit_h_14")
    assert found is registry()["imagenet1k/vit_h_14_swag_e2e_v1_torchvision"]
    assert found.cautions == [f"{found.id}: its licence, CC-BY-NC-4.0, forbids commercial use"]


@needs_package("timm")
@pytest.mark.parametrize(
    ("architecture", "hub", "commercial"),
    [("timm/resnet10t", "timm/resnet10t.c3_in1k", "yes"), ("timm/resnet50.a2_in1k", "timm/resnet50.a2_in1k", "yes"),
     ("timm/convnextv2_atto", "timm/convnextv2_atto.fcmae_ft_in1k", "no")],
)  # fmt: skip
def test_timms_weights_come_from_the_hub(architecture: str, hub: str, commercial: str) -> None:
    found = image_weights(architecture)
    assert found is not None and (found.hub, found.name) == (hub, "model.safetensors")
    assert found.id == hub and found.commercial == commercial


@needs_package("timm")
def test_networks_without_published_weights_have_none() -> None:
    assert image_weights("slow_r50") is None and image_weights("timm/resnet32ts_none_such") is None
    assert image_weights("timm/efficientnet_b6") is None
