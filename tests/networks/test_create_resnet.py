"""PyTorchVideo's create_resnet: all its arguments do what they say."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks.create_resnet import create_resnet, create_resnet_with_roi_head
from networks.pytorchvideo.bottleneck import BottleneckBlock
from utils.config.build import ArgumentError
from utils.errors import UserError


def features(net: nn.Module, clip: Tensor, blocks: int) -> Tensor:
    """Returns what the first blocks make of a clip."""
    for block in net.blocks[:blocks]:
        clip = block(clip)
    return clip


def test_the_default_is_the_tutorials_network() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=3, model_depth=50, model_num_class=400, norm=nn.BatchNorm3d, activation=nn.ReLU
        )
    assert sum(parameter.numel() for parameter in net.parameters()) == 32_472_912


@pytest.mark.whole
def test_every_argument_changes_its_part() -> None:
    with torch.device("meta"):
        net = create_resnet(
            input_channel=2, model_depth=101, model_num_class=5, dropout_rate=0.0, head_pool=None,
            norm=lambda channels: nn.GroupNorm(4, channels), activation=nn.SiLU,
        )  # fmt: skip
        logits = net(torch.empty(2, 2, 4, 64, 64))
        plain = create_resnet(norm=None, activation=None)
    assert logits.shape == (2, 5) and len(net.blocks[3].res_blocks) == 23
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


@pytest.mark.whole
def test_arguments_of_stem_and_pools_reach_the_network() -> None:
    with torch.device("meta"):
        net = create_resnet(
            stem_dim_out=16, stem_conv_kernel_size=(5, 5, 3), stem_conv_stride=(2, 1, 2), stem_pool=nn.AvgPool3d,
            stem_pool_kernel_size=(3, 3, 3), stem_pool_stride=(2, 2, 2), stage1_pool=nn.MaxPool3d,
            stage1_pool_kernel_size=(2, 1, 1), head_pool=nn.AdaptiveAvgPool3d,
        )  # fmt: skip
        x = torch.empty(1, 3, 16, 64, 64)
        assert features(net, x, 1).shape == (1, 16, 4, 32, 16)
        assert features(net, x, 3).shape == (1, 64, 2, 32, 16)
        assert net(x).shape == (1, 400)
        assert features(create_resnet(stem_pool=None), x, 1).shape == (1, 64, 16, 32, 32)
    stem = net.blocks[0]
    assert stem.conv.padding == (2, 2, 1) and stem.pool.padding == (1, 1, 1)


@pytest.mark.whole
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
            head=None,
        )  # fmt: skip
        assert net(torch.empty(1, 3, 8, 64, 64)).shape == (1, 2048, 4, 4, 8)
    layer1, layer2, layer4 = ([block.branch2 for block in net.blocks[stage].res_blocks] for stage in (1, 2, 4))
    assert [block.conv_a.kernel_size[0] for block in layer2] == [3, 1, 3, 1]
    assert layer1[0].conv_b.weight.shape == (64, 1, 3, 3, 3) and layer4[1].conv_b.weight.shape[1] == 256
    assert layer4[0].conv_b.dilation == (1, 2, 2)
    assert layer4[2].conv_b.padding == (0, 2, 2) and layer2[1].conv_a.stride == (1, 1, 1)
    assert (layer2[0].conv_a.stride, layer2[0].conv_b.stride) == ((2, 1, 1), (1, 2, 2))


def test_one_triple_stands_for_all_stages() -> None:
    with torch.device("meta"):
        net = create_resnet(stage_conv_a_kernel_size=(3, 1, 1), stage_conv_b_dilation=(1, 2, 2))
    blocks = [module for module in net.modules() if isinstance(module, BottleneckBlock)]
    assert {block.conv_a.kernel_size for block in blocks} == {(3, 1, 1)}
    assert {block.conv_b.dilation for block in blocks} == {(1, 2, 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stem": 3}, "stem: should be callable"),
        ({"bottleneck": (nn.Identity,)}, "bottleneck: has 1 entries; give one, or one for each of the 4 stages"),
        ({"stage_conv_b_dilation": ((1, 1, 1), (1, 2, 2))}, "stage_conv_b_dilation: has 2 entries"),
        ({"stage_conv_b_num_groups": (7, 1, 1, 1)}, "stage_conv_b_num_groups: 7 does not divide the 64 channels"),
        ({"stage_temporal_stride": (0, 1, 1, 1)}, "stage_temporal_stride"),
        ({"stage_conv_b_kernel_size": (3, 3)}, "stage_conv_b_kernel_size: should have more entries"),
        ({"stage_conv_a_kernel_size": [[], (1, 1, 1)]}, "stage_conv_a_kernel_size: should have at least 1 item"),
        ({"dropout_rate": 1.5}, "dropout_rate: should be less than or equal to 1"),
        ({"dropout_rate": -0.1}, "dropout_rate: should be greater than or equal to 0"),
    ],
)
def test_a_wrong_argument_is_an_error_with_its_name(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ArgumentError, match=f"^{message}"):
        create_resnet(**arguments)


def test_boxes_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^create_resnet_with_roi_head: scores boxes .* take create_resnet$"):
        create_resnet_with_roi_head(model_num_class=80)
