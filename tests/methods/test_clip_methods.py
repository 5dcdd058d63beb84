"""SlowFast and clip3d as methods: what they ask of the data, what they refuse, what they tell a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from methods import METHODS
from methods.base import Method
from methods.build import build_method
from methods.clip3d import Clip3D
from methods.slowfast import SlowFast
from networks import CLIP_NETWORKS
from networks.checkpoints.load import fetch_image_weights, load_into
from utils.config.sections import Model
from utils.errors import CheckpointError, ConfigError
from utils.training.optimizer import parameter_groups


def _meta(backbone: str, **arguments: object) -> Method:
    with torch.device("meta"):
        return METHODS["clip3d"](backbone=backbone, num_class=5, **arguments)


@pytest.mark.alike
@pytest.mark.parametrize("name", sorted(CLIP_NETWORKS))
def test_the_head_of_each_network_is_its_classifier(name: str) -> None:
    method = _meta(name)
    assert isinstance(method.head, (nn.Linear, nn.Conv3d)) and method.head.weight.shape[0] == 5
    entries = {key for key in method.state_dict() if key.startswith(method.head_prefix)}
    assert entries == {f"{method.head_prefix}weight", f"{method.head_prefix}bias"}
    assert len([1 for _ in method.named_parameters()]) == len(
        method.state_dict().keys() & dict(method.named_parameters())
    )


@pytest.mark.parametrize(
    "name", ["slow_r50", "s3d", "mvit_v2_s", "swin3d_t", "ir_csn_50", "hiera_tiny", "uniformer_s", "uniformerv2_b"]
)
def test_optimizer_groups_know_every_layer(name: str) -> None:
    method = _meta(name)
    groups = parameter_groups(method, no_wd=True, policy=False, fc_lr5=False)
    assert sum(len(group.params) for group in groups) == len(list(method.parameters()))


def test_they_ask_for_one_clip_of_frames_at_a_stride() -> None:
    clips = [SlowFast(num_class=5).clip, _meta("slow_r50", clip_len=4, frame_stride=16).clip]
    assert [(clip.num_frames, clip.frame_stride, clip.sampling) for clip in clips] == [(32, 2, "clip"), (4, 16, "clip")]
    assert _meta("csn_r101").clip.num_frames == 32
    assert METHODS["classify"] is Clip3D


def test_the_original_arguments_of_a_3d_resnet_are_taken() -> None:
    method = _meta("resnet50_3d", kwargs={"sample_size": 224, "sample_duration": 64, "shortcut_type": "B"})
    assert method.clip.num_frames == 64
    assert method.network.head_window == (4, 7, 7)
    assert _meta("resnet50_3d", clip_len=32).network.head_window == (2, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 8, "clip_len": 30}, r"alpha: 8 does not divide clip_len 30; take an alpha of 2, or a clip_len"),
        ({"alpha": 0}, "alpha: should be greater than 0, but is 0"),
        ({"frame_stride": 0}, "frame_stride: should be greater than 0"),
        ({"kwargs": {"alpha": 4}}, r"kwargs\.alpha: is not an argument of kwargs; move it one level up"),
        ({"kwargs": {"lateral": 1}}, r"kwargs\.lateral: slowfast does not take it; known names: crop_size, fast_depth"),
        ({"kwargs": {"crop_size": "224"}}, r"kwargs\.crop_size: should be a valid integer"),
        ({"kwargs": {"temporal_blocks": [[3]]}}, r"kwargs\.temporal_blocks: give two lists"),
        ({"backbone": "resnet34"}, r"backbone: should be 'resnet50', .* but is 'resnet34'"),
    ],
)
def test_slowfast_names_the_argument_or_its_key_and_the_fix(arguments: dict, message: str) -> None:
    _is_refused("slowfast", {"backbone": "resnet50", **arguments}, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "slow_r5"}, "backbone: 'slow_r5' is unknown; did you mean `slow_r50`"),
        (
            {"backbone": "r3d_18", "kwargs": {"stem": 1}},
            r"kwargs\.stem: r3d_18 does not take it; it takes no arguments",
        ),
        ({"backbone": "slow_r50", "kwargs": {"depth": 51}}, r"kwargs\.depth: should be 50, 101 or 152, but is 51"),
        ({"backbone": "slow_r50", "clip_len": 0}, "clip_len: should be greater than 0"),
        (
            {"backbone": "resnet18_3d", "clip_len": 8, "kwargs": {"sample_duration": 16}},
            r"kwargs\.sample_duration: 16 differs from clip_len 8",
        ),
        ({"backbone": "resnet18_3d", "kwargs": {"sample_duration": "long"}}, r"kwargs\.sample_duration: should be"),
        ({"backbone": "slow_r50", "stack": 5}, "stack: 5 is for flow and rgbdiff"),
    ],
)
def test_clip3d_names_the_argument_or_its_key_and_the_fix(arguments: dict, message: str) -> None:
    _is_refused("clip3d", arguments, message)


def _is_refused(name: str, arguments: dict, message: str) -> None:
    with torch.device("meta"):
        with pytest.raises(ValueError, match=f"^{message}"):
            METHODS[name](num_class=5, **arguments)
        with pytest.raises(ConfigError, match=rf"^common\.model\.{message}"):
            build_method(Model.model_validate({"type": name, "num_class": 5, **arguments}))


@pytest.mark.whole
def test_image_weights_from_the_folder_inflate_into_clip_networks(tmp_path: Path) -> None:
    image = resnet50()
    torch.save(image.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    slow = Clip3D(backbone="slow_r50", num_class=5)
    report = load_into(slow, fetch_image_weights(slow.arch, tmp_path))
    assert not report.missing and not report.unexpected
    weight = image.layer3[1].conv1.weight.detach()
    assert torch.allclose(slow.network.layer3[1].conv1.weight, weight.unsqueeze(2).expand(-1, -1, 3, -1, -1) / 3)


@pytest.mark.whole
def test_image_weights_inflate_into_the_slow_pathway(tmp_path: Path) -> None:
    image = resnet50()
    slowfast = SlowFast(num_class=5)
    body = {key: value for key, value in image.state_dict().items() if not key.startswith("fc.")}
    entries = slowfast.from_image_weights(body)
    assert all(key.startswith("network.slow.") for key in entries)
    first = entries["network.slow.layer2.0.conv1.weight"]
    assert torch.equal(first[:, :256, 0], image.layer2[0].conv1.weight) and not first[:, 256:].any()
    torch.save(image.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    report = load_into(slowfast, fetch_image_weights(slowfast.arch, tmp_path))
    assert torch.equal(slowfast.network.slow.conv1.weight[:, :, 0], image.conv1.weight)
    assert not report.missing
    assert "342 entries that no image network has" in report.summary()


def test_a_network_without_an_image_ancestor_says_so(tmp_path: Path) -> None:
    torch.save(resnet50().state_dict(), tmp_path / "image.pth")
    with pytest.raises(CheckpointError, match=r"image\.pth: clip3d_csn_r101: no image network inflates to it"):
        load_into(_meta("csn_r101"), tmp_path / "image.pth")
