"""PyTorchVideo's builders: their arguments are its own, and so are the logits; what is not built is refused by name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from networks.create_csn import create_csn, create_r2plus1d
from networks.create_resnet import create_resnet
from networks.create_slowfast import create_slowfast
from networks.create_x3d import create_x3d
from tests.golden.by_shape import draw, fill_by_shape
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
    fill_by_shape(net.eval())
    clips = [draw(*shape) for shape in case["input"]]
    with torch.no_grad():
        logits = net(clips if len(clips) > 1 else clips[0])[0]
    torch.testing.assert_close(logits, torch.tensor(case["logits"]), atol=1e-3, rtol=1e-4)


def test_a_slowfast_network_picks_the_slow_frames_itself() -> None:
    with torch.device("meta"):
        net = create_slowfast(model_num_class=5, norm=None, activation=nn.Sigmoid)
    assert net(torch.empty(1, 3, 32, 64, 64, device="meta")).shape == (1, 5)
    kinds = {type(module) for module in net.modules()}
    assert nn.Sigmoid in kinds and not kinds & {nn.BatchNorm3d, nn.ReLU}


def test_norms_have_the_epsilon_and_momentum_that_are_given() -> None:
    with torch.device("meta"):
        nets = [build(norm_eps=1e-3, norm_momentum=0.2) for build in (create_x3d, create_r2plus1d)]
    for net in nets:
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.2)}


def function(*args: Any, **kwargs: Any) -> nn.Module:
    """Stands for a function of one's own."""
    return nn.Identity()


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (create_csn, {"bottleneck": function}, "bottleneck: the network here has its own"),
        (create_csn, {"head_activation": nn.Softmax}, "head_activation: networks here return logits"),
        (create_csn, {"stage_conv_b_width_per_group": 3}, "stage_conv_b_width_per_group: 3 does not divide the 64"),
        (create_csn, {"model_depth": 18}, "model_depth: should be 50, 101 or 152"),
        (create_r2plus1d, {"stage_bottleneck": (function,) * 4}, "stage_bottleneck: the network here has its own"),
        (create_r2plus1d, {"head_output_with_global_average": False}, "head_output_with_global_average: the head here"),
        (create_slowfast, {"fusion_builder": function}, "fusion_builder: the network here has its own"),
        (create_slowfast, {"stem_dim_outs": (32, 4)}, r"stem_dim_outs: \(32, 4\) is not built here; leave it at"),
        (create_slowfast, {"slowfast_fusion_conv_kernel_size": (5, 3, 3)}, r"is not in time alone; give \(5, 1, 1\)"),
        (create_slowfast, {"slowfast_fusion_conv_kernel_size": (4, 1, 1)}, "4 is even; take an odd number"),
        (create_slowfast, {"head_pool_kernel_sizes": ((8, 7, 7), (32, 3, 3))}, "give windows of one size"),
        (create_slowfast, {"head_pool": nn.MaxPool3d}, "head_pool: the head here averages"),
        (create_x3d, {"width_factor": 1.0}, r"width_factor: 1\.0 is not built here; leave it at 2\.0"),
        (create_x3d, {"head_bn_lin5_on": True}, "head_bn_lin5_on: True is not built here"),
        (create_x3d, {"se_ratio": 0.5}, "se_ratio: 0.5 is not built here"),
        (create_x3d, {"input_crop_size": 16}, "input_crop_size: 16 is smaller than the strides of the network, 32"),
    ],
)
def test_what_is_not_built_is_refused_by_name(
    build: Callable[..., nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ArgumentError, ValueError), match=message), torch.device("meta"):
        build(**arguments)
