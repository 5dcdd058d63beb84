from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods import METHODS
from networks import IMAGE_BACKBONES
from networks.group_sync_bn import GroupBatchNorm
from tests.helpers.randomise import randomise
from tests.helpers.requirements import needs_package
from utils.training import folding
from utils.training.folding import fold_batch_norms

NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    **{f"tsn {name}": ("tsn", {"backbone": name}, (2, 75 if "v3" in name else 32)) for name in IMAGE_BACKBONES},
    "tsm": ("tsm", {"backbone": "resnet18", "num_segments": 4}, (4, 32)),
    "tsm mobilenetv2": ("tsm", {"backbone": "mobilenetv2", "num_segments": 4}, (4, 32)),
    "tsm whole blocks": ("tsm", {"backbone": "resnet18", "num_segments": 4, "shift_place": "block"}, (4, 32)),
    "tsm non-local": ("tsm", {"backbone": "resnet50", "non_local": True, "temporal_pool": True}, (8, 32)),
    "slowfast": ("slowfast", {"backbone": "resnet50", "clip_len": 8, "alpha": 4}, (8, 32)),
    "clip3d r2plus1d_18": ("clip3d", {"backbone": "r2plus1d_18", "clip_len": 4}, (4, 32)),
    "clip3d ir_csn_50": ("clip3d", {"backbone": "ir_csn_50", "clip_len": 4}, (4, 32)),
    "clip3d x3d_xs": ("clip3d", {"backbone": "x3d_xs", "clip_len": 4}, (4, 64)),
    "clip3d slow_r50": ("clip3d", {"backbone": "slow_r50", "clip_len": 4}, (4, 64)),
}


@pytest.fixture(autouse=True)
def _every_network_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what tests/conftest.py saves: networks here differ in what their representation does not show."""
    monkeypatch.setattr(folding, "foldable", inspect.unwrap(folding.foldable))


def norms(net: nn.Module) -> list[_BatchNorm]:
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def ready(net: nn.Module) -> nn.Module:
    randomise(net)
    return net.eval()


def distance(net: nn.Module, folded: nn.Module, inputs: Tensor) -> float:
    """Largest difference, divided by the spread of the answers."""
    with torch.no_grad():
        expected, found = net(inputs), folded(inputs)
    return float((found - expected).abs().max() / (expected.max() - expected.min()))


def num_folded(net: nn.Module) -> int:
    return sum("forward" in norm.__dict__ for norm in norms(net))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_norm_of_a_method_is_folded_and_the_logits_stay(name: str) -> None:
    kind, arguments, (frames, side) = NETWORKS[name]
    torch.manual_seed(0)
    method = ready(METHODS[kind](num_class=6, **arguments))
    clips = torch.randn(2, 3, frames, side, side)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    folded = fold_batch_norms(method, clips[:1]).network
    assert num_folded(folded) == len(norms(method)) and num_folded(method) == 0
    assert distance(method, folded, clips) < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.whole
@needs_package("timm", "pip install -r requirements-extras.txt")
@pytest.mark.alike
@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "efficientnet_lite0", "resnet26t"])
def test_a_norm_of_timm_keeps_its_activation(name: str) -> None:
    torch.manual_seed(0)
    method = ready(METHODS["tsn"](num_class=6, backbone=f"timm/{name}"))
    clips = torch.randn(1, 3, 2, 64, 64)
    folded = fold_batch_norms(method, clips).network
    assert num_folded(folded) == len(norms(method))
    assert distance(method, folded, clips) < 1e-5


def test_a_group_batch_norm_is_folded() -> None:
    net = ready(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), GroupBatchNorm.adopt(nn.BatchNorm2d(4), None)))
    frames = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(net, frames).network
    assert num_folded(folded) == 1 and distance(net, folded, frames) < 1e-5


class Pair(nn.Module):
    """A convolution and a norm, used as `way` says."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        match self.way:
            case "answer read twice":
                return self.norm(y) + y
            case "convolution shared":
                return self.norm(self.conv(y))
            case "norm shared":
                return self.norm(self.norm(y))
            case "weight read elsewhere":
                return self.norm(y) * self.conv.weight.mean()
            case "changed before the norm":
                return self.norm(y.relu_())
        return self.norm(y)


class Rectified(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


@pytest.mark.parametrize(
    "way",
    ["answer read twice", "convolution shared", "norm shared", "weight read elsewhere", "changed before the norm"],
)
def test_what_is_not_only_a_convolution_and_its_norm_stays(way: str) -> None:
    net, x = ready(Pair(way)), torch.randn(2, 3, 8, 8)
    folded, changed = fold_batch_norms(net, x)
    assert num_folded(folded) == 0 and not changed and distance(net, folded, x) == 0


def test_a_norm_that_does_more_stays() -> None:
    net, x = Pair(""), torch.randn(2, 3, 8, 8)
    net.norm = Rectified(3)
    folded = fold_batch_norms(ready(net), x).network
    assert num_folded(folded) == 0 and distance(net, folded, x) == 0


def test_the_names_of_what_answers_something_else_are_told() -> None:
    net = ready(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.BatchNorm2d(4), nn.ReLU()))
    folded, changed = fold_batch_norms(net, torch.randn(1, 3, 4, 4))
    assert changed == {"0", "0.0"}
    assert [name for name, _ in folded.named_modules()] == [name for name, _ in net.named_modules()]


def test_the_copy_shares_what_is_not_folded() -> None:
    net = ready(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)))
    folded = fold_batch_norms(net, torch.randn(1, 3, 4, 4)).network
    own, copied = net.state_dict(), folded.state_dict()
    assert [key for key in own if own[key].data_ptr() != copied[key].data_ptr()] == ["0.weight", "0.bias"]
