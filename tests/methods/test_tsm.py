"""TSM: frames talk to each other, in every backbone, and frame by frame where they only look back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from methods.build import build_method
from methods.frame_by_frame import FrameByFrame
from methods.tsm import TSM
from methods.tsn import TSN
from networks.temporal.shift import TemporalShift
from tests.helpers.requirements import needs_package
from utils.config.sections import Model
from utils.errors import ConfigError
from utils.run.flops import multiply_adds, num_parameters

ARCHITECTURES = [
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "densenet121",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "googlenet",
    "swin_t",
]
TIMM = [
    "timm/resnet18",
    "timm/mobilenetv3_small_050",
    "timm/tf_efficientnet_lite0",
    "timm/convnext_atto",
    "timm/regnety_002",
]


def _pair(backbone: str) -> tuple[TSN, TSM]:
    """TSN and TSM with the same weights."""
    torch.manual_seed(0)
    tsm = TSM(backbone=backbone, num_class=5, num_segments=4).eval()
    for name, parameter in tsm.named_parameters():
        is_scale = parameter.dim() == 1 and not name.endswith("bias")
        if is_scale or name.endswith("layer_scale"):  # some networks begin with silent branches, which would hide them
            nn.init.ones_(parameter)
    tsn = TSN(backbone=backbone, num_class=5, num_segments=4).eval()
    tsn.load_state_dict(tsm.state_dict())
    return tsn, tsm


def _check_order_matters(backbone: str) -> None:
    tsn, tsm = _pair(backbone)
    clips = torch.randn(2, 3, 4, 64, 64)
    permuted = clips[:, :, [2, 0, 3, 1]]
    with torch.no_grad():
        averaged, shifted = tsn(clips), tsm(clips)
        scale = float(averaged.abs().max())
        assert float((averaged - tsn(permuted)).abs().max()) < 1e-4 * scale
        assert float((shifted - tsm(permuted)).abs().max()) > 1e-3 * scale
        apart = torch.cat([tsm(clip) for clip in clips.split(1)])
        torch.testing.assert_close(shifted, apart, rtol=1e-3, atol=1e-4 * scale)  # clips never mix


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("backbone", ARCHITECTURES)
def test_permuting_frames_changes_tsm_and_not_tsn(backbone: str) -> None:
    _check_order_matters(backbone)


@pytest.mark.whole
@pytest.mark.alike
@needs_package("timm")
@pytest.mark.parametrize("backbone", TIMM)
def test_permuting_frames_changes_tsm_on_timms_networks_too(backbone: str) -> None:
    _check_order_matters(backbone)


def test_without_channels_to_move_tsm_is_tsn() -> None:
    tsn, _ = _pair("resnet18")
    still = TSM(backbone="resnet18", num_class=5, shift_div=0).eval()
    still.load_state_dict(tsn.state_dict())
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(still(clips), tsn(clips))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("backbone", "params", "frames", "side", "gmacs"),
    [
        ("resnet50", 24_327_632, 8, 224, "32.704"),
        ("resnet50", 24_327_632, 8, 256, "42.713"),
        ("resnet101", 43_319_760, 8, 224, "62.401"),
        ("mobilenetv2", 2_736_272, 8, 224, "2.400"),
        ("resnet18", 11_381_712, 8, 224, "14.510"),
    ],
)
def test_the_shift_costs_nothing(backbone: str, params: int, frames: int, side: int, gmacs: str) -> None:
    with torch.device("meta"):
        net = TSM(backbone=backbone, num_class=400)
    assert num_parameters(net) == params
    assert f"{multiply_adds(net, (1, 3, frames, side, side)) / 1e9:.3f}" == gmacs


@pytest.mark.whole
def test_the_shift_runs_over_the_frames_it_is_given() -> None:
    net = TSM(backbone="resnet18", num_class=5, num_segments=8).eval()
    clips = torch.randn(2, 3, 16, 32, 32)
    with torch.no_grad():
        sixteen, eight = net(clips), net(clips[:, :, :8])
        assert torch.equal(net(clips), sixteen)
        assert torch.equal(net(clips[:, :, :8]), eight)
    fresh = TSM(backbone="resnet18", num_class=5, num_segments=16).eval()
    fresh.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(clips), sixteen)


@pytest.mark.whole
def test_the_whole_block_place_shifts_the_shortcut_too() -> None:
    net = TSM(backbone="resnet18", num_class=5, shift_place="block")
    shifted = [path for path, module in net.named_modules() if isinstance(module, TemporalShift)]
    assert shifted == [f"backbone.layer{stage}.{block}.temporal" for stage in (1, 2, 3, 4) for block in (0, 1)]
    deep = TSM(backbone="resnet101", num_class=5, shift_place="block")
    assert sum(isinstance(module, TemporalShift) for module in deep.modules()) == 33


def test_keys_are_those_of_tsn_so_every_image_file_fits() -> None:
    tsm = TSM(backbone="resnet50", num_class=5, temporal_pool=True)
    assert [*tsm.state_dict()] == [*TSN(backbone="resnet50", num_class=5).state_dict()]


def test_a_temporal_pool_halves_the_frames_from_layer2_on() -> None:
    net = TSM(backbone="resnet18", num_class=5, num_segments=8, temporal_pool=True).eval()
    rows: dict[str, int] = {}
    for name in ("layer1", "layer2", "layer4"):
        stage = net.backbone.get_submodule(name)
        stage.register_forward_hook(lambda module, inputs, output, name=name: rows.update({name: output.shape[0]}))
    with torch.no_grad():
        net(torch.randn(2, 3, 8, 32, 32))
    assert rows == {"layer1": 16, "layer2": 8, "layer4": 8}


@pytest.mark.alike
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"temporal_pool": True},
        {"non_local": True},
        {"non_local": "dot_product", "shift_place": "block"},
        {"shift": "uni"},
    ],
)
def test_clips_of_a_batch_never_mix(arguments: dict) -> None:
    torch.manual_seed(0)
    net = TSM(backbone="resnet50", num_class=5, **arguments).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)  # a fresh non-local block is the identity
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), torch.cat([net(clip) for clip in clips.split(1)]), rtol=1e-4, atol=1e-5)


def test_a_one_directional_network_never_looks_ahead() -> None:
    net = TSM(backbone="resnet18", num_class=5, shift="uni").eval()
    clip = torch.randn(1, 3, 6, 32, 32)
    future = clip.clone()
    future[:, :, 4:] = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        net(clip)  # the shifts know that clips have six frames now
        before, after = (net.frame_logits(x[0].transpose(0, 1))[:4] for x in (clip, future))
    assert torch.equal(before, after)


def test_the_shift_of_the_slot_is_tsm() -> None:
    torch.manual_seed(0)
    tsm = TSM(backbone="resnet18", num_class=5, num_segments=4, shift="uni").eval()
    slot = TSN(backbone="resnet18", num_class=5, num_segments=4, temporal={"name": "tsm", "shift": "uni"}).eval()
    slot.load_state_dict(tsm.state_dict())
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(slot(clips), tsm(clips))
        assert torch.equal(FrameByFrame(slot)(clips[:, :, 0])[0], FrameByFrame(tsm)(clips[:, :, 0])[0])
    with pytest.raises(ValueError, match="temporal: tsm has a module already"):
        TSM(backbone="resnet18", num_class=5, temporal={"name": "tam"})


def test_a_copy_shifts_by_itself() -> None:
    net = TSM(backbone="resnet18", num_class=5).eval()
    twin = copy.deepcopy(net)
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        net(clips)
        net(torch.randn(1, 3, 16, 32, 32))
        assert torch.equal(twin(clips), net(clips))


@pytest.mark.long
def test_it_compiles_without_a_graph_break_and_exports_with_any_batch() -> None:
    net = TSM(backbone="resnet18", num_class=5, num_segments=4).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        expected = net(clips)
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(clips), expected)
        torch.testing.assert_close(compiled(clips[:, :, :2]), net(clips[:, :, :2]))
        program = torch.export.export(net, (clips,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
        torch.testing.assert_close(program(clips[:1]), expected[:1])
        stream = FrameByFrame(TSM(backbone="resnet18", num_class=5, shift="uni").eval())
        inputs = (clips[:, :, 0], *stream.first_state(clips[:, :, 0]))
        step = torch.export.export(stream, inputs).module()
        torch.testing.assert_close(step(*inputs), stream(*inputs))


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift_place": "blokres"}, "shift_place: should be 'blockres' or 'block', but is 'blokres'"),
        ({"shift": "left"}, "shift: should be 'bi' or 'uni', but is 'left'"),
        ({"shift_div": 1}, r"shift_div: should be 0 \(no shift\) or at least 2"),
        ({"shift_div": -8}, "shift_div: should be greater than or equal to 0"),
        ({"shift_div": 128}, r"shift_div: 128 is more than the 64 channels of a branch, at layer1\.0\.conv1"),
        ({"non_local": "loud"}, "non_local: should be a valid boolean or 'embedded_gaussian', .* but is 'loud'"),
        ({"backbone": "mobilenetv2", "non_local": True}, "non_local: needs a ResNet with layer2"),
        ({"backbone": "mobilenetv2", "temporal_pool": True}, "temporal_pool: needs a ResNet"),
        ({"backbone": "densenet121", "shift_place": "block"}, "shift_place: densenet121 has branches"),
        ({"consensus": "max"}, "consensus: should be 'avg', 'trn' or 'trn_multiscale', but is 'max'"),
    ],
)
def test_impossible_arguments_are_errors_that_name_the_argument_or_its_key(arguments: dict, message: str) -> None:
    arguments = {"backbone": "resnet18", "num_class": 5, **arguments}
    with pytest.raises(ValueError, match=f"^{message}"):
        TSM(**arguments)
    with pytest.raises(ConfigError, match=rf"^common\.model\.{message}"):
        build_method(Model.model_validate({"type": "tsm", **arguments}))
