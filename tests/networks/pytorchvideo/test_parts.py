"""PyTorchVideo's parts: the same keys, and with the same weights the same outputs as its own code."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from networks import create_mvit
from networks.create_resnet import create_acoustic_resnet, create_resnet
from networks.create_x3d import create_x3d
from networks.pytorchvideo import attention, bottleneck, convolutions, head, non_local, positions, res_stage, stem, x3d
from tests.golden.by_shape import draw, fill_by_shape, keys_of
from utils.config.build import ArgumentError
from utils.files import ROOT

CASES = json.loads((ROOT / "tests/golden/models/pytorchvideo__parts.json").read_text())["cases"]
MODULES = (attention, bottleneck, convolutions, create_mvit, head, non_local, positions, res_stage, stem, x3d)
PARTS: dict[str, Callable[..., nn.Module]] = {key: value for module in MODULES for key, value in vars(module).items()}
PARTS["create_acoustic_resnet"] = create_acoustic_resnet
SHAPES = {"MultiScaleBlock": ((2, 4, 5),)}  # of its patches


def argument(value: Any) -> Any:
    """Turns the names of modules and of parts into what they name."""
    if isinstance(value, str) and value not in ("cat", "mean", "max", "dot_product", "batchnorm"):
        return PARTS.get(value) or getattr(nn, value)
    return value


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_part_has_pytorchvideos_keys_and_outputs(case: dict[str, Any]) -> None:
    part = PARTS[case["name"]](**{key: argument(value) for key, value in case["arguments"].items()})
    assert keys_of(part) == case["keys"]
    fill_by_shape(part.eval())
    with torch.no_grad():
        found = part(draw(*case["input"]), *SHAPES.get(case["name"], ()))
        found = found[0] if isinstance(found, tuple) else found
    assert [*found.shape] == case["output"]
    values = found.flatten()[:: max(1, found.numel() // 6)][:6]
    torch.testing.assert_close(values, torch.tensor(case["values"]), atol=1e-5, rtol=1e-5)


@pytest.mark.whole
def test_parts_of_ones_own_take_the_place_of_every_part() -> None:
    asked: dict[str, set[str]] = {}

    def part(name: str, build: Callable[..., nn.Module], **arguments: Any) -> nn.Module:
        asked[name] = set(arguments)
        return build(**arguments)

    with torch.device("meta"):
        net = create_resnet(
            stem_dim_out=8,
            model_num_class=5,
            stem=partial(part, "stem", stem.create_acoustic_res_basic_stem),
            stem_pool=None,
            bottleneck=[partial(part, "bottleneck", bottleneck.create_2plus1d_bottleneck_block)] * 4,
            head=partial(part, "head", head.create_res_basic_head),
            head_pool=None,
        )
        assert net(torch.empty(2, 3, 4, 32, 32)).shape == (2, 5)
        features = create_resnet(stem_dim_out=8, head=None)(torch.empty(2, 3, 4, 32, 32))
    assert features.shape == (2, 256, 4, 1, 1)
    assert {*asked} == {"stem", "bottleneck", "head"} and {"conv_b_dilation", "norm_eps"} <= asked["bottleneck"]
    assert isinstance(net.blocks[0].conv, convolutions.ConvReduce3D)
    assert isinstance(net.blocks[4].res_blocks[2].branch2.conv_b, convolutions.Conv2plus1d)


@pytest.mark.whole
def test_parts_take_the_place_of_each_other_in_x3d() -> None:
    def plain(*, conv_kernel_size: Any, conv_stride: Any, se_ratio: float, inner_act: Any, **others: Any) -> nn.Module:
        return bottleneck.create_bottleneck_block(
            conv_a_kernel_size=(1, 1, 1), conv_a_stride=(1, 1, 1), conv_a_padding=(0, 0, 0),
            conv_b_kernel_size=conv_kernel_size, conv_b_stride=conv_stride, conv_b_padding=(1, 1, 1), **others,
        )  # fmt: skip

    with torch.device("meta"):
        net = create_x3d(
            bottleneck=plain, depth_factor=1.0, width_factor=1.0, input_clip_length=4, input_crop_size=32,
            model_num_class=5, head_bn_lin5_on=True, head_activation=nn.Softmax,
        )  # fmt: skip
        scores = net(torch.empty(2, 3, 4, 32, 32))
    assert scores.shape == (2, 5) and isinstance(net.blocks[5].activation, nn.Softmax)
    assert not any(isinstance(module, nn.Conv3d) and module.groups > 1 for module in net.blocks[1:5].modules())


def test_a_network_draws_its_weights_and_begins_without_its_residual_branches() -> None:
    net = create_resnet(stem_dim_out=2, model_num_class=3, norm=partial(nn.BatchNorm3d, affine=True))
    blocks = [module for module in net.modules() if isinstance(module, res_stage.ResBlock)]
    assert len(blocks) == 16 and all(not block.branch2.norm_c.weight.any() for block in blocks)
    assert all(block.branch2.norm_a.weight.eq(1).all() for block in blocks)
    head_ = net.blocks[-1].proj
    assert not head_.bias.any() and 0.005 < head_.weight.std() < 0.02


def test_numbers_of_numpy_are_numbers() -> None:
    window = (np.int64(1), np.prod([2, 1]), 2)
    part = head.create_res_basic_head(
        in_features=np.int64(4), out_features=3, pool_kernel_size=window, dropout_rate=np.float64(0.5)
    )
    assert part(torch.ones(1, 4, 1, 2, 2)).shape == (1, 3)
    with pytest.raises(ArgumentError, match=r"^in_features: should be a valid integer, but is 4\.5"):
        head.create_res_basic_head(in_features=np.float64(4.5), out_features=3)


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (stem.create_res_basic_stem, {"in_channels": 0, "out_channels": 4}, "in_channels: should be greater than 0"),
        (stem.create_res_basic_stem, {"in_channels": 3, "out_channels": 4, "conv_stride": (1, 2)}, "conv_stride"),
        (
            bottleneck.create_bottleneck_block,
            {"dim_in": 4, "dim_inner": 4, "dim_out": 4, "conv_b_num_groups": 3},
            "conv_b_num_groups: 3 does not divide the 4 channels of a block",
        ),
        (
            res_stage.create_res_stage,
            {"depth": 2, "dim_in": 4, "dim_inner": 4, "dim_out": 4, "bottleneck": nn.Identity, "conv_a_padding": []},
            "conv_a_padding: is an empty list",
        ),
        (convolutions.create_conv_2plus1d, {"in_channels": 4, "out_channels": 3, "groups": 2}, "groups: 2 does not"),
        (
            convolutions.ConvReduce3D,
            {"in_channels": 1, "out_channels": 1, "kernel_size": (1, 1), "bias": (True,)},
            "bias: has 1 entries for 2 convolutions",
        ),
        (head.create_vit_basic_head, {"in_features": 4, "out_features": 3, "seq_pool_type": "max"}, "seq_pool_type"),
        (attention.MultiScaleAttention, {"dim": 8, "kernel_q": (3, 3)}, "kernel_q: should have more entries"),
        (head.ResNetBasicHead, {}, "proj: is missing"),
        (res_stage.ResBlock, {}, "branch2: is missing"),
        (
            non_local.NonLocal,
            {f"conv_{key}": nn.Conv3d(2, 3 if key == "g" else 2, 1) for key in ("theta", "phi", "g", "out")},
            "conv_g: has 3 inner channels, but conv_theta 2",
        ),
    ],
)
def test_a_wrong_argument_is_an_error_with_its_name(
    build: Callable[..., nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        build(**arguments)
    with pytest.raises(AssertionError, match=f"^{message}"):  # what PyTorchVideo raises
        build(**arguments)
