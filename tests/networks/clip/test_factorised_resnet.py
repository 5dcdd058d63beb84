"""Networks on torchvision's video ResNet, and the 3x3x3 ResNets."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.video.resnet import Conv2Plus1D

from networks import CLIP_NETWORKS
from networks.clip.factorised_resnet import VIDEO_RESNETS, Factorised


@pytest.mark.whole
def test_norms_have_the_eps_of_the_project_that_published_them() -> None:
    def eps(name: str) -> dict[float, int]:
        with torch.device("meta"):
            norms = [module for module in CLIP_NETWORKS[name]().modules() if isinstance(module, nn.BatchNorm3d)]
        assert {norm.momentum for norm in norms} == {0.1}
        return {value: sum(norm.eps == value for norm in norms) for value in {norm.eps for norm in norms}}

    for name in ("r2plus1d_34", "r2plus1d_152", "ir_csn_152", "ip_csn_152", "mc4_18", "rmc2_18"):
        assert list(eps(name)) == [1e-3], name
    for name in ("r3d_18", "mc3_18", "slow_r50", "csn_r101", "r2plus1d_r50"):
        assert list(eps(name)) == [1e-5], name
    # mmaction2: 1 stem, 2 x 16 blocks and 3 shortcuts outside; as many inside factorised convolutions
    assert eps("r2plus1d_34_mm") == {1e-3: 36, 1e-5: 36}


def test_a_factorised_convolution_computes_its_width_itself_where_torchvision_takes_the_blocks() -> None:
    with torch.device("meta"):
        block = VIDEO_RESNETS["r2plus1d_34"].build().layer2[0]
        theirs = CLIP_NETWORKS["r2plus1d_18"]().layer2[0]
    assert [conv[0][0].out_channels for conv in (block.conv1, block.conv2)] == [230, 288]
    assert [conv[0][0].out_channels for conv in (theirs.conv1, theirs.conv2)] == [230, 230]
    assert not issubclass(Factorised, Conv2Plus1D)


def test_mixed_convolutions_change_over_at_their_level() -> None:
    def depths_in_time(name: str) -> list[int]:
        with torch.device("meta"):
            net = VIDEO_RESNETS[name].build()
        stages = (net.layer1, net.layer2, net.layer3, net.layer4)
        return [net.stem[0].kernel_size[0], *(stage[0].conv1[0].kernel_size[0] for stage in stages)]

    assert depths_in_time("mc2_18") == [3, 1, 1, 1, 1]
    assert depths_in_time("mc3_18_vmz") == [3, 3, 1, 1, 1]
    assert depths_in_time("mc5_18") == [3, 3, 3, 3, 1]
    assert depths_in_time("rmc2_18") == [1, 3, 3, 3, 3]
    assert depths_in_time("rmc3_18") == [1, 1, 3, 3, 3]
    assert depths_in_time("rmc5_18") == [1, 1, 1, 1, 3]


def test_separated_networks_convolve_each_channel_alone_and_stride_in_time_and_space() -> None:
    with torch.device("meta"):
        reduced, preserved = (VIDEO_RESNETS[name].build().layer2[0] for name in ("ir_csn_152", "ip_csn_152"))
    depthwise = reduced.conv2[0]
    assert (depthwise.groups, depthwise.stride, reduced.downsample[0].stride) == (128, (2, 2, 2), (2, 2, 2))
    pointwise, norm, depthwise = preserved.conv2[0]
    assert (pointwise.kernel_size, depthwise.groups, type(norm)) == ((1, 1, 1), 128, nn.BatchNorm3d)


@pytest.mark.whole
def test_dropout_is_put_in_front_of_torchvisions_classifiers_under_their_keys() -> None:
    clip = torch.ones(1, 3, 2, 16, 16)
    for name in ("r3d_18", "ir_csn_50"):
        plain, dropped = CLIP_NETWORKS[name](num_class=2), CLIP_NETWORKS[name](num_class=2, dropout=0.9)
        assert plain.state_dict().keys() == dropped.state_dict().keys()
        dropped.load_state_dict(plain.state_dict())
        assert torch.equal(plain.eval()(clip), dropped.eval()(clip))
        dropped.fc.train()
        assert not torch.equal(dropped(clip), plain(clip))


def test_shortcut_type_a_has_no_parameters_and_type_b_projects() -> None:
    padded = CLIP_NETWORKS["resnet18_3d"](shortcut_type="A", num_class=2)
    projected = CLIP_NETWORKS["resnet18_3d"](shortcut_type="B", num_class=2)
    assert not list(padded.layer2[0].downsample.parameters())
    assert projected.layer2[0].downsample[0].kernel_size == (1, 1, 1)
    x = torch.randn(1, 64, 5, 7, 7)
    shortcut = padded.layer2[0].downsample(x)
    assert shortcut.shape == projected.layer2[0].downsample(x).shape
    assert torch.equal(shortcut[:, :64], x[:, :, ::2, ::2, ::2]) and not shortcut[:, 64:].any()
    with pytest.raises(ValueError, match=r"^shortcut_type: should be 'A' or 'B', but is 'C'$"):
        CLIP_NETWORKS["resnet18_3d"](shortcut_type="C")
