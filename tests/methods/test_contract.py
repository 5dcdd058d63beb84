"""What every method and every image backbone in the tables does; being listed is being tested."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods import METHODS
from methods.base import Method
from networks import IMAGE_BACKBONES
from networks.prepare import freeze_bn
from tests.helpers.requirements import needs_gpu
from utils.config.build import parameters_of

# arguments that make a method small enough for a test, and the size of a clip that it takes then
SMALL: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "slowfast": ({"backbone": "resnet50", "clip_len": 8, "alpha": 4}, (8, 32)),
    "clip3d": ({"backbone": "r3d_18", "clip_len": 4}, (4, 32)),
    "classify": ({"backbone": "r3d_18", "clip_len": 4}, (4, 32)),
}
LARGE = {"inception_v3_tsn": 75}  # image networks that take no smaller frames
DEFAULT: tuple[dict[str, Any], tuple[int, int]] = ({"backbone": "resnet18"}, (2, 32))


def _build(name: str, **changes: Any) -> tuple[Method, Tensor]:
    arguments, (frames, side) = SMALL.get(name, DEFAULT)
    side = LARGE.get(changes.get("backbone", ""), side)
    torch.manual_seed(0)
    method = METHODS[name](num_class=6, dropout=0.1, **{**arguments, **changes})
    return method, torch.randn(2, 3, frames, side, side)


def _backward_reaches_everything(method: Method, clips: Tensor) -> None:
    logits = method(clips)
    assert logits.shape == (2, 6) and torch.isfinite(logits).all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 5])).backward()
    for name, parameter in method.named_parameters():
        frozen = bool(method.frozen_part) and name.startswith(f"{method.frozen_part}.")
        assert (parameter.grad is None) == frozen, f"{name} gets no gradient, or one that it should not have"
        assert frozen or torch.isfinite(parameter.grad).all(), name


@pytest.mark.alike
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_every_parameter_and_gives_finite_logits(name: str) -> None:
    _backward_reaches_everything(*_build(name))


@pytest.mark.alike
@pytest.mark.parametrize("method", ["tsn", "tsm"])
@pytest.mark.parametrize("backbone", IMAGE_BACKBONES)
def test_an_image_backbone_trains_every_parameter_in_tsn_and_tsm(method: str, backbone: str) -> None:
    _backward_reaches_everything(*_build(method, backbone=backbone))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_tells_what_data_checkpoint_and_optimizer_ask(name: str) -> None:
    method, _ = _build(name)
    assert method.clip.num_frames >= 1 and method.clip.frame_stride >= 1
    assert method.name.split("_")[0] in METHODS
    frames, height, width = method.example_size
    assert frames == method.clip.num_frames and min(height, width) > 0
    entries = [key for key in method.state_dict() if key.startswith(method.head_prefix)]
    assert method.head_prefix.removesuffix(".") in dict(method.named_modules())
    assert [key.removeprefix(method.head_prefix) for key in entries] == [*method.head.state_dict()]
    assert method.head.state_dict()["weight"].shape[0] == 6


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_plain_keyword_arguments_only(name: str) -> None:
    for parameter in parameters_of(METHODS[name]).values():
        assert parameter.kind is parameter.KEYWORD_ONLY, parameter
        assert parameter.annotation is not parameter.empty, parameter


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", METHODS)
def test_evaluation_is_deterministic_and_leaves_the_statistics_alone(name: str) -> None:
    method, clips = _build(name)
    method.eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(method(clips), method(clips))
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@needs_gpu
@pytest.mark.parametrize("name", METHODS)
def test_a_gpu_gives_the_logits_of_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    method, clips = _build(name)
    method.eval()
    with torch.no_grad():
        here, there = method(clips), method.cuda()(clips.cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_builds_on_the_meta_device_with_the_same_entries(name: str) -> None:
    real, _ = _build(name)
    with torch.device("meta"):
        meta, _ = _build(name)
    assert {key: value.shape for key, value in meta.state_dict().items()} == {
        key: value.shape for key, value in real.state_dict().items()
    }
    assert all(value.is_meta for value in meta.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_frozen_norms_stay_frozen_in_training_mode(name: str) -> None:
    method, _ = _build(name)
    count = freeze_bn(method, keep_first=True)
    learns = not method.frozen_part
    method.train()
    norms = [module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert count == len(norms) - 1
    assert [norm.training for norm in norms] == [learns] + [False] * count
