"""PyTorchVideo's builders: their arguments are its own, and so are keys and logits."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from methods import METHODS
from networks.checkpoints.layouts import LAYOUTS
from networks.create_csn import create_csn, create_r2plus1d
from networks.create_mvit import create_multiscale_vision_transformers
from networks.create_resnet import create_resnet
from networks.create_slowfast import create_slowfast
from networks.create_x3d import create_x3d
from networks.pytorchvideo.fuse_fast import FuseFastToSlow
from tests.golden.by_shape import draw, fill_by_shape, keys_of
from utils.config.build import ArgumentError
from utils.files import ROOT

CASES = json.loads((ROOT / "tests/golden/models/pytorchvideo__builders.json").read_text())["cases"]
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    build.__name__: build for build in (create_resnet, create_csn, create_r2plus1d, create_slowfast, create_x3d)
}
HEAD = "head_output_size head_activation head_output_with_global_average"
STEM = "stem_dim_out stem_conv_kernel_size stem_conv_stride"
STEMS = "stem_dim_outs stem_conv_kernel_sizes stem_conv_strides stem_pool stem_pool_kernel_sizes stem_pool_strides"
NAMES = {
    create_csn: f"""input_channel model_depth model_num_class dropout_rate norm activation {STEM} stem_pool
        stem_pool_kernel_size stem_pool_stride stage_conv_a_kernel_size stage_conv_b_kernel_size
        stage_conv_b_width_per_group stage_spatial_stride stage_temporal_stride bottleneck bottleneck_ratio head_pool
        head_pool_kernel_size {HEAD}""",
    create_r2plus1d: f"""input_channel model_depth model_num_class dropout_rate norm norm_eps norm_momentum activation
        {STEM} stage_conv_a_kernel_size stage_conv_b_kernel_size stage_conv_b_num_groups stage_conv_b_dilation
        stage_spatial_stride stage_temporal_stride stage_bottleneck head_pool head_pool_kernel_size {HEAD}""",
    create_slowfast: f"""slowfast_channel_reduction_ratio slowfast_conv_channel_fusion_ratio
        slowfast_fusion_conv_kernel_size slowfast_fusion_conv_stride fusion_builder input_channels model_depth
        model_num_class dropout_rate norm activation stem_function {STEMS} stage_conv_a_kernel_sizes
        stage_conv_b_kernel_sizes stage_conv_b_num_groups stage_conv_b_dilations stage_spatial_strides
        stage_temporal_strides bottleneck head head_pool head_pool_kernel_sizes {HEAD}""",
    create_x3d: f"""input_channel input_clip_length input_crop_size model_num_class dropout_rate width_factor
        depth_factor norm norm_eps norm_momentum activation stem_dim_in stem_conv_kernel_size stem_conv_stride
        stage_conv_kernel_size stage_spatial_stride stage_temporal_stride bottleneck bottleneck_factor se_ratio
        inner_act head_dim_out head_pool_act head_bn_lin5_on {HEAD.removeprefix("head_output_size ")}""",
}


@pytest.mark.parametrize("build", NAMES)
def test_a_builder_has_pytorchvideos_arguments_in_its_order(build: Callable[..., nn.Module]) -> None:
    assert [*inspect.signature(build).parameters] == NAMES[build].split()


def argument(value: Any) -> Any:
    """Turns lists into tuples and names of modules into their classes."""
    if isinstance(value, list):
        return tuple(map(argument, value))
    return getattr(nn, value) if isinstance(value, str) else value


@pytest.mark.whole
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["builder"])
def test_the_same_weights_give_pytorchvideos_logits(case: dict[str, Any]) -> None:
    arguments = {key: argument(value) for key, value in case["arguments"].items()}
    net = BUILDERS[case["builder"]](**arguments)
    assert sum(parameter.numel() for parameter in net.parameters()) == case["parameters"]
    assert keys_of(net) == case["keys"]
    fill_by_shape(net.eval())
    clips = [draw(*shape) for shape in case["input"]]
    with torch.no_grad():
        logits = net(clips if len(clips) > 1 else clips[0])[0]
    torch.testing.assert_close(logits, torch.tensor(case["logits"]), atol=1e-5, rtol=2e-5)


def test_slowfast_takes_a_list_of_clips_and_leaves_it_as_it_is() -> None:
    with torch.device("meta"):
        net = create_slowfast(model_num_class=5, norm=None, activation=nn.Sigmoid, head_pool=nn.AdaptiveAvgPool3d)
        clips = [torch.empty(1, 3, frames, 32, 32) for frames in (4, 16)]
        assert net(clips).shape == (1, 5)
        assert [clip.shape[2] for clip in clips] == [4, 16]
        with pytest.raises(ValueError, match="has 2 pathways: give a list with one clip for each"):
            net(clips[0])
    kinds = {type(module) for module in net.modules()}
    assert nn.Sigmoid in kinds and not kinds & {nn.BatchNorm3d, nn.ReLU}


def test_the_fusion_of_slowfast_is_a_part_too() -> None:
    asked = []

    def fuse(fusion_dim_in: int, stage_idx: int) -> nn.Module:
        asked.append((stage_idx, fusion_dim_in))
        conv = nn.Conv3d(fusion_dim_in // 8, fusion_dim_in // 4, 1, stride=(4, 1, 1))
        return FuseFastToSlow(conv) if stage_idx < 4 else nn.Identity()

    with torch.device("meta"):
        net = create_slowfast(model_depth=18, stem_dim_outs=(16, 2), fusion_builder=fuse, head=None, head_pool=None)
        net.blocks[-1].pool = nn.ModuleList([nn.AdaptiveAvgPool3d(1)] * 2)
        assert net([torch.empty(1, 3, frames, 32, 32) for frames in (2, 8)]).shape == (1, 576, 1, 1, 1)
    assert asked == [(0, 16), (1, 64), (2, 128), (3, 256), (4, 512)]


def test_norms_have_the_epsilon_and_momentum_that_are_given() -> None:
    with torch.device("meta"):
        nets = [build(norm_eps=1e-3, norm_momentum=0.2) for build in (create_x3d, create_r2plus1d)]
    for net in nets:
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.2)}


WIDER = [[1, 2.0], [3, 2.0], [14, 2.0]]
MVIT: dict[str, Any] = {  # its base network
    "spatial_size": 224,
    "temporal_size": 16,
    "embed_dim_mul": WIDER,
    "atten_head_mul": WIDER,
    "pool_q_stride_size": [[1, 1, 2, 2], [3, 1, 2, 2], [14, 1, 2, 2]],
    "pool_kv_stride_adaptive": [1, 8, 8],
    "pool_kvq_kernel": [3, 3, 3],
}


@pytest.mark.whole
@pytest.mark.parametrize(
    ("build", "arguments", "network"),
    [
        (create_resnet, {}, "create_resnet_r50"),
        (create_slowfast, {}, "resnet50"),
        (create_x3d, {}, "x3d_m"),
        (create_csn, {}, "csn_r101"),
        (create_r2plus1d, {}, "r2plus1d_r50"),
        (create_multiscale_vision_transformers, MVIT, "mvit_v1_b"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_checkpoint_of_a_builder_is_read_as_the_network_of_its_kind(
    build: Callable[..., nn.Module], arguments: dict[str, Any], network: str
) -> None:
    with torch.device("meta"):
        state = build(**arguments).state_dict()
        layout = next(layout for layout in LAYOUTS if layout.recognises(state))
        found, description = layout.convert(state, {})
        same = METHODS[description.method](backbone=description.backbone, **description.arguments).state_dict()
    assert layout.name.startswith("PyTorchVideo") and description.backbone == network
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in same.items()}


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (create_csn, {"stage_conv_b_width_per_group": 3}, "stage_conv_b_width_per_group: 3 does not divide the 64"),
        (create_csn, {"model_depth": 18}, "model_depth: should be 50, 101 or 152"),
        (create_r2plus1d, {"stage_bottleneck": ()}, "stage_bottleneck: has 0 entries"),
        (create_slowfast, {"stem_dim_outs": (32, 8)}, r"stem_dim_outs: is \(32, 8\), .* \(8,\) asks for \(32, 4\)"),
        (
            create_slowfast,
            {"stem_conv_strides": ((1, 2, 2),)},
            "stem_conv_strides: has 1 entries; give one for",
        ),
        (
            create_slowfast,
            {"slowfast_channel_reduction_ratio": 4, "stem_dim_outs": (10, 2)},
            "slowfast_channel_reduction_ratio: 4 does not divide the 10 channels of stem_dim_outs",
        ),
        (create_slowfast, {"slowfast_channel_reduction_ratio": ()}, "slowfast_channel_reduction_ratio: is empty"),
        (create_slowfast, {"stage_spatial_strides": ((1, 2, 2, 2, 2),) * 2}, "stage_spatial_strides: .* at most 4"),
        (create_slowfast, {"stage_temporal_strides": ((1, 1, 1),) * 2}, "stage_temporal_strides: .* more entries"),
        (create_slowfast, {"stage_conv_b_num_groups": ((1,) * 5,) * 2}, "stage_conv_b_num_groups: .* at most 4"),
        (create_r2plus1d, {"dropout_rate": 1.5}, "dropout_rate: should be less than or equal to 1"),
        (create_x3d, {"stage_conv_kernel_size": (3, 3)}, "stage_conv_kernel_size: should have more entries"),
        (create_x3d, {"width_factor": 0}, "width_factor: should be greater than 0"),
        (create_x3d, {"input_crop_size": 16}, "input_crop_size: 16 is smaller than the strides of the network, 32"),
    ],
)
def test_a_wrong_argument_is_an_error_with_its_name(
    build: Callable[..., nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"), torch.device("meta"):
        build(**arguments)
