"""SlowFast and clip3d as methods: what they ask of the data, what they refuse, what they tell a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from methods import METHODS
from methods.base import Method
from methods.clip3d import Clip3D
from methods.slowfast import SlowFast
from networks import CLIP_NETWORKS
from networks.checkpoints.load import load_pretrained
from utils.errors import CheckpointError, ConfigError
from utils.training.optimizer import parameter_groups


def _meta(backbone: str, **arguments: object) -> Method:
    with torch.device("meta"):
        return METHODS["clip3d"](backbone=backbone, num_class=5, **arguments)


@pytest.mark.parametrize("name", sorted(CLIP_NETWORKS))
def test_the_head_of_each_network_is_its_classifier(name: str) -> None:
    method = _meta(name)
    assert isinstance(method.head, (nn.Linear, nn.Conv3d)) and method.head.weight.shape[0] == 5
    entries = {key for key in method.state_dict() if key.startswith(method.head_prefix)}
    assert entries == {f"{method.head_prefix}weight", f"{method.head_prefix}bias"}
    assert len([1 for _ in method.named_parameters()]) == len(
        method.state_dict().keys() & dict(method.named_parameters())
    )


@pytest.mark.parametrize("name", ["slow_r50", "s3d", "mvit_v2_s", "swin3d_t", "ir_csn_50"])
def test_optimizer_groups_know_every_layer(name: str) -> None:
    method = _meta(name)
    groups = parameter_groups(method, no_wd=True, policy=False, fc_lr5=False)
    assert sum(len(group.params) for group in groups) == len(list(method.parameters()))


def test_they_ask_for_one_clip_of_frames_at_a_stride() -> None:
    clips = [SlowFast(num_class=5).clip, _meta("slow_r50", clip_len=4, frame_stride=16).clip]
    assert [(clip.num_frames, clip.frame_stride, clip.sampling) for clip in clips] == [(32, 2, "clip"), (4, 16, "clip")]
    assert _meta("csn_r101").clip.num_frames == 32
    assert METHODS["classify"] is Clip3D


def test_the_seeds_arguments_of_a_3d_resnet_are_taken() -> None:
    method = _meta("resnet50_3d", kwargs={"sample_size": 224, "sample_duration": 64, "shortcut_type": "B"})
    assert method.clip.num_frames == 64
    assert method.network.head_window == (4, 7, 7)
    assert _meta("resnet50_3d", clip_len=32).network.head_window == (2, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"alpha": 8, "clip_len": 30},
            r"model\.alpha: 8 does not divide clip_len 30; take an alpha of 2, or a clip_len",
        ),
        ({"alpha": 0}, r"model\.alpha: 0"),
        ({"frame_stride": 0}, r"model\.frame_stride: should be at least 1"),
        ({"kwargs": {"alpha": 4}}, r"model\.kwargs\.alpha: belongs beside kwargs"),
        (
            {"kwargs": {"lateral": 1}},
            r"model\.kwargs\.lateral: slowfast does not take it; it takes crop_size, fast_depth",
        ),
        ({"kwargs": {"crop_size": "224"}}, r"model\.kwargs\.crop_size: should be a valid integer"),
        ({"backbone": "resnet34"}, r"model\.backbone: 'resnet34' is not one of resnet50"),
    ],
)
def test_slowfast_names_the_key_and_the_fix(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SlowFast(num_class=5, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "slow_r5"}, r"model\.backbone: 'slow_r5' is no clip network; did you mean `slow_r50`"),
        (
            {"backbone": "r3d_18", "kwargs": {"stem": 1}},
            r"model\.kwargs\.stem: r3d_18 does not take it; it takes no argu",
        ),
        ({"backbone": "slow_r50", "clip_len": 0}, r"model\.clip_len: should be at least 1"),
        ({"backbone": "resnet18_3d", "clip_len": 8, "kwargs": {"sample_duration": 16}}, "16 differs from clip_len 8"),
    ],
)
def test_clip3d_names_the_key_and_the_fix(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Clip3D(num_class=5, **arguments)


def test_image_weights_from_the_folder_inflate_into_clip_networks(tmp_path: Path) -> None:
    image = resnet50()
    torch.save(image.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    slow = Clip3D(backbone="slow_r50", num_class=5)
    report = load_pretrained(slow, True, folder=tmp_path)
    assert not report.missing and not report.unexpected
    weight = image.layer3[1].conv1.weight.detach()
    assert torch.allclose(slow.network.layer3[1].conv1.weight, weight.unsqueeze(2).expand(-1, -1, 3, -1, -1) / 3)


def test_image_weights_inflate_into_the_slow_pathway(tmp_path: Path) -> None:
    image = resnet50()
    slowfast = SlowFast(num_class=5)
    body = {key: value for key, value in image.state_dict().items() if not key.startswith("fc.")}
    entries = slowfast.from_image_weights(body)
    assert all(key.startswith("network.slow.") for key in entries)
    first = entries["network.slow.layer2.0.conv1.weight"]
    assert torch.equal(first[:, :256, 0], image.layer2[0].conv1.weight) and not first[:, 256:].any()
    torch.save(image.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    report = load_pretrained(slowfast, True, folder=tmp_path)
    assert torch.equal(slowfast.network.slow.conv1.weight[:, :, 0], image.conv1.weight)
    assert not report.missing
    assert "342 entries that no image network has" in report.summary()


def test_a_network_without_an_image_ancestor_says_so() -> None:
    with pytest.raises(CheckpointError, match="clip3d_csn_r101: no image network inflates to it"):
        _meta("csn_r101").from_image_weights({})
