"""The Temporal Pyramid Network: behind frames and behind clips, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from methods import METHODS
from methods.base import Method
from methods.clip3d import Clip3D
from methods.frame_by_frame import FrameByFrame
from methods.tsm import TSM
from methods.tsn import TSN
from networks.temporal import tpn
from networks.temporal.tpn import TPN
from tests.helpers.randomise import randomise
from utils.errors import ConfigError


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (4, 1), (8, 1), (9, 2), (16, 2)])
def test_eight_frames_become_one_step_and_fewer_too(frames: int, steps: int) -> None:
    neck = TPN(64).eval()
    early, late = torch.randn(2, 32, frames, 7, 6), torch.randn(2, 64, frames, 4, 3)
    assert neck(early, late).shape == (2, 64, steps, 4, 3)


def test_the_way_back_continues_on_what_the_way_down_has_added() -> None:
    """The later level reaches the first fusion only as a sum, so without it both fusions change."""
    torch.manual_seed(0)
    neck = TPN(64).eval()
    randomise(neck)
    early, late = torch.randn(1, 32, 8, 4, 4), torch.randn(1, 64, 8, 2, 2)
    caught: list[torch.Tensor] = []
    handles = [
        part.levels[0].register_forward_pre_hook(lambda module, given: caught.append(given[0]))  # type: ignore[union-attr]
        for part in neck.fuse
    ]
    with torch.no_grad():
        neck(early, late)
        slow, fast = (neck.tempo[i](x).amax(2, keepdim=True) for i, x in enumerate((neck.align(early), late)))
    for handle in handles:
        handle.remove()
    down, up = caught
    torch.testing.assert_close(down, slow + fast)
    assert torch.equal(down, up)


@pytest.mark.parametrize("kind", ["tsn", "tsm"])
def test_a_network_with_the_neck_sees_the_order_of_frames(kind: str) -> None:
    torch.manual_seed(0)
    net = METHODS[kind](backbone="resnet18", num_class=5, num_segments=8, neck="tpn")
    randomise(net)
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        scores, turned = net.eval()(clips), net(clips.flip(2))
    assert scores.shape == (1, 5)
    assert float((scores - turned).abs().max()) > 1e-4 * float(scores.std())


@pytest.mark.whole
def test_a_3d_network_that_looks_at_single_frames_gives_what_the_2d_one_gives() -> None:
    torch.manual_seed(0)
    flat = TSN(backbone="resnet50", num_class=5, num_segments=4, neck="tpn").eval()
    deep = Clip3D(backbone="c2d_nopool_r50", num_class=5, clip_len=4, neck="tpn").eval()
    randomise(flat)
    names = {"backbone.": "", "head.": "fc.", "neck.": "neck."}
    state = {}
    for key, value in flat.state_dict().items():
        start = next(name for name in names if key.startswith(name))
        inside = value[:, :, None] if value.dim() == 4 else value
        state[f"network.{names[start]}{key.removeprefix(start)}"] = inside
    deep.load_state_dict(state)
    clips = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(deep(clips), flat(clips), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("tsn", {"backbone": "mobilenetv2"}, "plain ResNet of torchvision, which tsn_mobilenetv2 does not have"),
        ("tsn", {"backbone": "resnet18", "temporal": {"name": "tdn"}}, "which tsn_tdn_resnet18 does not have"),
        ("tsn", {"backbone": "resnet18", "consensus": "trn"}, "leaves no frames for consensus trn"),
        ("clip3d", {"backbone": "r3d_18"}, "3-D ResNet that keeps all frames there, which r3d_18 is not"),
        ("clip3d", {"backbone": "csn_r101"}, "3-D ResNet that keeps all frames there, which csn_r101 is not"),
        ("tsn", {"backbone": "resnet18", "neck": "fpn"}, "should be 'tpn'"),
    ],
)
def test_a_network_without_the_stages_is_refused_with_both_names(kind: str, arguments: Any, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=rf"^neck: .*{message}"):
        METHODS[kind](**{"num_class": 5, "neck": "tpn", **arguments})


def test_frames_cannot_be_streamed_through_a_neck() -> None:
    with torch.device("meta"):
        net = TSM(backbone="resnet18", num_class=5, shift="uni", neck="tpn")
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame, but tsm_resnet18 has a neck"):
        FrameByFrame(net)


def test_image_weights_leave_the_neck_random() -> None:
    with torch.device("meta"):
        methods: list[Method] = [
            TSN(backbone="resnet18", num_class=5, neck="tpn"),
            Clip3D(backbone="slow_r50", num_class=5, neck="tpn"),
        ]
    for method in methods:
        inside = [key for key in method.state_dict() if "neck." in key]
        assert inside and all(method.starts_random(key) for key in inside)
        assert any(isinstance(part, nn.Conv3d) for part in method.modules())


@pytest.mark.parametrize(("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 1, 1), 1), ((1, 1, 1), 1)])
def test_a_training_on_a_cpu_convolves_as_torch_does(kernel: tuple[int, int, int], stride: Any) -> None:
    torch.manual_seed(0)
    ours = tpn._Conv(4, 6, kernel, stride, tuple(size // 2 for size in kernel), bias=False).double()
    clips = torch.randn(2, 4, 5, 7, 8, dtype=torch.float64, requires_grad=True)
    found, expected = ours(clips), nn.Conv3d.forward(ours, clips)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), (clips, ours.weight)),
        torch.autograd.grad(expected.square().sum(), (clips, ours.weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
