"""Methods that see optical flow or differences: what they ask of the data, and weights that come from RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from methods import METHODS
from methods.build import build_method
from methods.clip3d import Clip3D
from methods.tsm import TSM
from methods.tsn import TSN
from networks import CLIP_NETWORKS
from networks.checkpoints.load import fetch_image_weights, load_into
from utils.config.sections import Model
from utils.errors import CheckpointError, ConfigError

STACKS = [("flow", None, 10, 5), ("flow", 3, 6, 3), ("rgbdiff", None, 15, 6), ("rgbdiff", 2, 6, 3), ("rgb", None, 3, 1)]
IMAGE_NETWORKS = ("mobilenet_v2", "densenet121", "efficientnet_b0", "vgg11", "vit_b_16", "convnext_tiny")
ONE_OF_A_FAMILY = ("slow_r50", "resnet18_3d", "r3d_18", "r2plus1d_18", "ir_csn_50", "s3d", "mvit_v2_s", "swin3d_t")


def model(**arguments: Any) -> Model:
    return Model.model_validate({"backbone": "resnet18", "num_class": 4, **arguments})


@pytest.mark.parametrize(("modality", "stack", "channels", "length"), STACKS)
@pytest.mark.parametrize("name", ["tsn", "tsm"])
def test_one_number_reaches_the_first_convolution_and_the_data(
    name: str, modality: str, stack: int | None, channels: int, length: int
) -> None:
    method = build_method(model(type=name, num_segments=2, modality=modality, stack=stack))
    clip = method.clip
    assert (clip.in_channels, clip.length, clip.num_pictures) == (channels, length, 2 * length)
    assert method(torch.randn(1, channels, 2, 32, 32)).shape == (1, 4)


@pytest.mark.alike
@pytest.mark.parametrize("backbone", IMAGE_NETWORKS)
def test_every_kind_of_image_network_takes_flow(backbone: str) -> None:
    with torch.device("meta"):
        method = TSN(backbone=backbone, num_class=4, num_segments=1, modality="flow").eval()
        assert method(torch.empty(1, 10, 1, 224, 224)).shape == (1, 4)


@pytest.mark.alike
@pytest.mark.parametrize("backbone", ONE_OF_A_FAMILY)
def test_every_kind_of_clip_network_takes_a_clip_of_fields(backbone: str) -> None:
    assert backbone in CLIP_NETWORKS
    with torch.device("meta"):
        method = Clip3D(backbone=backbone, num_class=4, clip_len=16, modality="flow").eval()
        assert method.clip.in_channels == 2
        side = 112 if backbone == "resnet18_3d" else 224
        assert method(torch.empty(1, 2, 16, side, side)).shape == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type": "tsn", "stack": 5}, "common.model.stack: 5 is for flow and rgbdiff"),
        (
            {"type": "slowfast", "backbone": "resnet50", "modality": "flow"},
            "common.model.modality: slowfast does not take it",
        ),
        ({"type": "img", "modality": "flow"}, "common.model.modality: img does not take it"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        build_method(model(**arguments))
    with pytest.raises(ValueError, match=r"^modality: should be 'rgb', 'flow' or 'rgbdiff', but is 'depth'$"):
        METHODS["tsn"](backbone="resnet18", num_class=2, modality="depth")


def image_file(folder: Path) -> tuple[nn.Module, Path]:
    image = resnet18()
    torch.save(image.state_dict(), folder / "resnet18-mine.pth")
    return image, folder / "resnet18-mine.pth"


@pytest.mark.whole
def test_image_weights_inflate_to_clips_of_flow(tmp_path: Path) -> None:
    _, _ = image_file(tmp_path)
    method = Clip3D(backbone="resnet18_3d", num_class=4, clip_len=16, modality="flow", kwargs={"shortcut_type": "B"})
    report = load_into(method, fetch_image_weights(method.arch, tmp_path))
    kernel, image = method.network.conv1.weight, torch.load(tmp_path / "resnet18-mine.pth", weights_only=True)
    assert kernel.shape[1] == 2 and any("repeated for 2 channels of flow" in note for note in report.notes)
    torch.testing.assert_close(kernel.sum(2)[:, 1], image["conv1.weight"].mean(1))


@pytest.mark.whole
def test_weights_trained_on_rgb_videos_begin_a_flow_network_but_are_not_evaluated_as_one(tmp_path: Path) -> None:
    rgb, flow = TSM(backbone="resnet18", num_class=3), TSM(backbone="resnet18", num_class=4, modality="flow", stack=2)
    torch.save({"state_dict": rgb.state_dict()}, tmp_path / "rgb.pth")
    report = load_into(flow, tmp_path / "rgb.pth", new_head=True)
    assert any("repeated for 4 channels of flow" in note for note in report.notes)
    torch.testing.assert_close(flow.backbone.conv1.weight[:, 3], rgb.backbone.conv1.weight.mean(1))
    same = TSM(backbone="resnet18", num_class=3, modality="flow", stack=2)
    with pytest.raises(CheckpointError, match=r"backbone.conv1.weight is 64x3x7x7 in the file, 64x4x7x7 in the model"):
        load_into(same, tmp_path / "rgb.pth")


@pytest.mark.whole
def test_weights_of_differences_are_not_taken_for_rgb(tmp_path: Path) -> None:
    """One difference has three channels, as a frame has: only the config in the file tells them apart."""
    arguments: dict[str, Any] = {"backbone": "resnet18", "num_class": 3}
    ours = TSN(modality="rgbdiff", stack=1, **arguments)
    config = {"common": {"model": {"type": "tsn", "modality": "rgbdiff", "stack": 1, **arguments}}}
    torch.save({"state_dict": ours.state_dict(), "config": config}, tmp_path / "diff.pth")
    with pytest.raises(CheckpointError, match="modality is rgbdiff in the file and rgb here"):
        load_into(TSN(**arguments), tmp_path / "diff.pth")
    again = TSN(modality="rgbdiff", stack=1, **arguments)
    load_into(again, tmp_path / "diff.pth", new_head=True)
    assert torch.equal(again.backbone.conv1.weight, ours.backbone.conv1.weight)
