"""Networks whose modules only look back answer frame by frame what they answer for a whole clip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from methods.frame_by_frame import FrameByFrame
from methods.tsm import TSM
from methods.tsn import TSN
from networks.prepare import to_channels_last
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.module import TemporalModule, shift_taps
from networks.temporal.shift import temporal_shift
from tests.helpers.randomise import wake
from tests.helpers.requirements import needs_package
from utils.config.build import parameters_of
from utils.errors import ConfigError

CAUSAL = [name for name, kind in TEMPORAL_MODULES.items() if "shift" in parameters_of(kind)]
HOSTS: dict[str, dict] = {"tea": {"backbone": "timm/res2net50_26w_4s", "kwargs": {"layers": [1, 1, 1, 1]}}}
EACH = [pytest.param(name, marks=needs_package("timm") if name in HOSTS else ()) for name in CAUSAL]
FRAMES = 64


def network(name: str, backbone: str = "resnet18") -> TSN:
    """A network for clips of four frames, whose weights are away from where they start."""
    torch.manual_seed(0)
    host = {"backbone": backbone} | HOSTS.get(name, {})
    net = TSN(num_class=5, num_segments=4, init_std=0.1, temporal={"name": name, "shift": "uni"}, **host)
    wake(net)
    return net.eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def streamed(network: FrameByFrame, clips: Tensor) -> Tensor:
    """The logits (B, T, K) of each frame of clips (B, C, T, H, W), given one by one."""
    state: tuple[Tensor, ...] = ()
    rows = []
    for frame in clips.unbind(2):
        logits, *new_state = network(frame, *state)
        state = tuple(new_state)
        rows.append(logits)
    return torch.stack(rows, 1)


def test_these_modules_have_a_causal_form() -> None:
    assert CAUSAL == ["tsm", "tam", "gsm", "gsf", "mvf", "action", "tea"]


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", EACH)
def test_a_stream_gives_the_offline_networks_logits_of_every_frame(name: str) -> None:
    net = network(name)
    to_channels_last(net)
    clips = torch.randn(2, 3, FRAMES, 32, 32)
    offline = net(clips)
    by_frame = net.frame_logits(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, FRAMES))
    online = streamed(FrameByFrame(net), clips)
    scale = max(1.0, float(by_frame.abs().max()))
    assert float((online - by_frame).abs().max()) < 1e-5 * scale
    assert float((online.mean(1) - offline).abs().max()) < 1e-5 * scale
    assert torch.equal(net(clips), offline)  # the stream left the network as it was
    forgetful = FrameByFrame(net)(clips[:, :, -1])[0]
    assert float((forgetful - by_frame[:, -1]).abs().max()) > 1e-3 * scale  # what is remembered matters


@pytest.mark.whole
@pytest.mark.parametrize(("name", "backbone"), [("tsm", "mobilenetv2"), ("tam", "convnext_tiny")])
def test_other_backbones_stream_too(name: str, backbone: str) -> None:
    net = network(name, backbone)
    clips = torch.randn(1, 3, 8, 32, 32)
    offline = net(clips)
    torch.testing.assert_close(streamed(FrameByFrame(net), clips).mean(1), offline, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_no_frame_sees_a_later_one(name: str) -> None:
    module = TEMPORAL_MODULES[name](32, num_frames=4, shift="uni").eval()  # type: ignore[call-arg]
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    module.num_frames = 6
    clip = torch.randn(6, 32, 4, 4)
    future = torch.cat([clip[:4], torch.randn(2, 32, 4, 4)])
    before, after = module(clip), module(future)
    torch.testing.assert_close(before[:4], after[:4])
    assert not torch.allclose(before[4:], after[4:])
    earlier = torch.cat([torch.randn(2, 32, 4, 4), clip[2:]])
    assert not torch.allclose(module(earlier)[2], before[2], atol=1e-4)  # but earlier ones it does see


@pytest.mark.parametrize("shift_div", [8, 0])
def test_taps_of_the_causal_form_begin_as_the_one_directional_shift(shift_div: int) -> None:
    clips = torch.randn(2, 5, 16, 3, 3)
    module = TEMPORAL_MODULES["action"](16, num_frames=5, shift="uni")  # type: ignore[call-arg]
    expected = temporal_shift(
        clips.flatten(0, 1), 5, fold=16 // shift_div if shift_div else 0, direction="uni"
    ).unflatten(0, (2, 5))
    torch.testing.assert_close(module.correlate(clips, shift_taps(16, shift_div, "uni")), expected)


@pytest.mark.parametrize("shift", ["uni", "bi"])
def test_a_frame_without_a_neighbour_has_no_motion(shift: str) -> None:
    module = TEMPORAL_MODULES["action"](16, num_frames=3, shift=shift)  # type: ignore[call-arg]
    here, there = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1), torch.tensor([10.0, 20.0, 40.0]).view(1, 3, 1)
    expected = {"uni": [0.0, 20.0 - 1.0, 40.0 - 2.0], "bi": [20.0 - 1.0, 40.0 - 2.0, 0.0]}
    assert module.motion(here, there).flatten().tolist() == expected[shift]


@pytest.mark.parametrize("name", [name for name in CAUSAL if TEMPORAL_MODULES[name].spot != "block"])
def test_both_forms_have_the_same_parameters_and_each_gets_a_gradient(name: str) -> None:
    kind = TEMPORAL_MODULES[name]
    uni, bi = (kind(32, num_frames=4, shift=shift) for shift in ("uni", "bi"))  # type: ignore[call-arg]
    uni.load_state_dict(bi.state_dict())
    with torch.enable_grad():
        for parameter in uni.parameters():
            nn.init.normal_(parameter, std=0.2)
        uni(torch.randn(8, 32, 4, 4, requires_grad=True)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in uni.parameters())


def test_a_state_of_zeros_begins_a_clip() -> None:
    net = FrameByFrame(network("gsf"))
    frame = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(net(frame, *net.first_state(frame)), net(frame))


def test_a_module_of_ones_own_streams_if_it_reads_the_past_through_the_base_class() -> None:
    class Difference(TemporalModule):
        causal = True

        def forward(self, x: Tensor) -> Tensor:
            clips = self.clips(x)
            return self.rows(2 * clips - self.with_past(clips, 1)[:, :-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEMPORAL_MODULES, "difference", Difference)
        net = TSN(backbone="resnet18", num_class=5, num_segments=4, temporal={"name": "difference"}).eval()
    clips = torch.randn(1, 3, 5, 32, 32)
    torch.testing.assert_close(streamed(FrameByFrame(net), clips).mean(1), net(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "arguments", "has"),
    [
        (TSM, {}, "no one-directional shift"),
        (TSM, {"shift_div": 0}, "no one-directional shift"),
        (TSM, {"shift": "uni", "temporal_pool": True}, "a temporal pool"),
        (
            TSM,
            {"shift": "uni", "non_local": True, "backbone": "resnet50"},
            "non-local blocks, which look at all",
        ),
        (TSN, {}, "no one-directional shift"),
        (TSN, {"temporal": {"name": "gsf"}}, "no one-directional shift"),
        (TSN, {"temporal": {"name": "action"}}, "no one-directional shift"),
        (TSN, {"temporal": {"name": "tin"}}, "TIN, whose offsets come from all frames of a clip"),
        (TSN, {"temporal": {"name": "tdn"}}, "TDN, which compares each image with the two frames behind it"),
        (TSN, {"temporal": {"name": "mvf", "shift": "uni"}, "consensus": "trn"}, "relations of all frames"),
    ],
)
def test_a_network_that_cannot_stream_is_refused(method: type[TSN], arguments: dict, has: str) -> None:
    arguments = {"backbone": "resnet18", "num_class": 5, **arguments}
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=f"^common.model: only `shift: uni` can .* has {has}"),
    ):
        FrameByFrame(method(**arguments))
