"""PyTorchVideo's create_resnet: all its arguments do what they say, or are refused by name."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from networks import CLIP_NETWORKS
from networks.create_resnet import create_resnet


def test_the_default_is_the_tutorials_network() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=3, model_depth=50, model_num_class=400, norm=nn.BatchNorm3d, activation=nn.ReLU
        )
        same = CLIP_NETWORKS["create_resnet_r50"](num_class=400)
    assert sum(parameter.numel() for parameter in net.parameters()) == 32_472_912
    assert {name: value.shape for name, value in net.state_dict().items()} == {
        name: value.shape for name, value in same.state_dict().items()
    }


@pytest.mark.whole
def test_every_argument_changes_its_part() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=2, model_depth=101, model_num_class=5, dropout_rate=0.0,
            norm=lambda channels: nn.GroupNorm(4, channels), activation=nn.SiLU,
        )  # fmt: skip
        logits = net(torch.empty(2, 2, 4, 64, 64))
        plain = create_resnet(norm=None, activation=None)
    assert logits.shape == (2, 5) and len(net.layer3) == 23
    kinds = {type(module) for module in net.modules()}
    assert {nn.GroupNorm, nn.SiLU} <= kinds and not kinds & {nn.BatchNorm3d, nn.ReLU, nn.Dropout}
    assert not {type(module) for module in plain.modules()} & {nn.BatchNorm3d, nn.ReLU}
    with pytest.raises(ValueError, match=r"^model_depth: should be 50, 101 or 152, but is 34$"):
        create_resnet(model_depth=34)


NAMES = """input_channel model_depth model_num_class dropout_rate norm activation stem_dim_out stem_conv_kernel_size
stem_conv_stride stem_pool stem_pool_kernel_size stem_pool_stride stem stage1_pool stage1_pool_kernel_size
stage_conv_a_kernel_size stage_conv_b_kernel_size stage_conv_b_num_groups stage_conv_b_dilation stage_spatial_h_stride
stage_spatial_w_stride stage_temporal_stride bottleneck head head_pool head_pool_kernel_size head_output_size
head_activation head_output_with_global_average"""


def test_it_has_the_29_arguments_of_pytorchvideo() -> None:
    assert [*inspect.signature(create_resnet).parameters] == NAMES.split() and len(NAMES.split()) == 29


def test_arguments_of_stem_and_pools_reach_the_network() -> None:
    with torch.device("meta"):
        net = create_resnet(
            stem_dim_out=16, stem_conv_kernel_size=(5, 5, 3), stem_conv_stride=(2, 1, 2), stem_pool=nn.AvgPool3d,
            stem_pool_kernel_size=(3, 3, 3), stem_pool_stride=(2, 2, 2), stage1_pool=nn.MaxPool3d,
            stage1_pool_kernel_size=(2, 1, 1), head_pool=nn.AdaptiveAvgPool3d,
        )  # fmt: skip
        x = torch.empty(1, 3, 16, 64, 64)
        assert net.stem(x).shape == (1, 16, 4, 32, 16)
        assert net.stage(0, net.stem(x)).shape == (1, 64, 2, 32, 16)
        assert net(x).shape == (1, 400)
        assert create_resnet(stem_pool=None).stem(x).shape == (1, 64, 16, 32, 32)
    assert net.conv1.padding == (2, 2, 1) and net.maxpool.padding == (1, 1, 1)


def test_kernels_groups_dilations_and_strides_reach_their_stages() -> None:
    with torch.device("meta"):
        net = create_resnet(
            stage_conv_a_kernel_size=((1, 1, 1), ((3, 1, 1), (1, 1, 1)), (3, 1, 1), (3, 1, 1)),
            stage_conv_b_kernel_size=((3, 3, 3), (1, 3, 3), (1, 3, 3), (1, 3, 3)),
            stage_conv_b_num_groups=(64, 1, 1, 2),
            stage_conv_b_dilation=((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 2, 2)),
            stage_spatial_h_stride=(1, 2, 2, 1),
            stage_spatial_w_stride=(1, 2, 1, 1),
            stage_temporal_stride=(1, 2, 1, 1),
        )  # fmt: skip
        assert net.forward_features(torch.empty(1, 3, 8, 64, 64)).shape == (1, 2048, 4, 4, 8)
    assert [block.conv1.kernel_size[0] for block in net.layer2] == [3, 1, 3, 1]
    assert net.layer1[0].conv2.weight.shape == (64, 1, 3, 3, 3) and net.layer4[1].conv2.weight.shape[1] == 256
    assert net.layer4[0].conv2.dilation == (1, 2, 2)
    assert net.layer4[2].conv2.padding == (0, 2, 2) and net.layer2[1].conv1.stride == (1, 1, 1)
    assert (net.layer2[0].conv1.stride, net.layer2[0].conv2.stride) == ((2, 1, 1), (1, 2, 2))


def test_one_triple_stands_for_all_stages() -> None:
    with torch.device("meta"):
        net = create_resnet(stage_conv_a_kernel_size=(3, 1, 1), stage_conv_b_dilation=(1, 2, 2))
    convs = [block for stage in range(1, 5) for block in net.get_submodule(f"layer{stage}")]
    assert {block.conv1.kernel_size for block in convs} == {(3, 1, 1)}
    assert {block.conv2.dilation for block in convs} == {(1, 2, 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stem": nn.Identity}, "stem: the network here has its own; leave it out"),
        ({"bottleneck": nn.Identity}, "bottleneck: the network here has its own"),
        ({"head": nn.Identity}, "head: the network here has its own"),
        ({"head_activation": nn.Softmax}, "head_activation: networks here return logits"),
        ({"head_pool": nn.MaxPool3d}, "head_pool: the head here averages"),
        ({"head_output_size": (1, 2, 2)}, "head_output_size: the head here averages all positions"),
        ({"head_output_with_global_average": False}, "head_output_with_global_average: the head here averages"),
        ({"stage_conv_b_dilation": ((1, 1, 1), (1, 2, 2))}, "stage_conv_b_dilation: has 2 entries"),
        ({"stage_conv_b_num_groups": (7, 1, 1, 1)}, "stage_conv_b_num_groups: 7 does not divide the 64 channels"),
        ({"stage_temporal_stride": (0, 1, 1, 1)}, "stage_temporal_stride"),
        ({"dropout_rate": -0.1}, "dropout_rate: should be greater than or equal to 0"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=f"^{message}"):
        create_resnet(**arguments)
