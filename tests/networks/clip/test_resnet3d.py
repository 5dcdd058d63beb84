"""3-D ResNets: stages are data, and the data are those of the papers."""

from __future__ import annotations

import pytest
import torch

from networks.clip.resnet3d import ResNet3d, Stages, stages_from
from networks.clip.resnet3d_published import RESNETS_3D
from networks.clip.slowfast import SlowFastNet
from networks.clip.stem_conv import StemConv3d
from tests.helpers.randomise import randomise

SMALL = Stages(depths=(1, 1, 1, 1), width=8)


def test_named_networks_have_the_temporal_kernels_of_their_papers() -> None:
    kernels = {
        name: [stages_from(row.stages, row.depth).block_kernels(i) for i in range(4)]
        for name, row in RESNETS_3D.items()
    }
    assert kernels["slow_r50"] == [[1] * 3, [1] * 4, [3] * 6, [3] * 3]
    assert kernels["i3d_r50"] == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    assert kernels["c2d_r50"] == [[1] * 3, [1] * 4, [1] * 6, [1] * 3]


def test_r101_50_50_has_temporal_kernels_in_the_first_six_blocks_of_its_third_stage() -> None:
    with torch.device("meta"):
        net = SlowFastNet("resnet101_50_50", alpha=4)
        other = SlowFastNet("resnet101_50_101", alpha=4)
    for pathway, long in ((net.slow, 6), (net.fast, 6), (other.slow, 6), (other.fast, 23)):
        sizes = [block.conv1.kernel_size[0] for block in pathway.layer3]
        assert sizes == [3] * long + [1] * (23 - long)


def test_the_stride_sits_on_the_3x3_convolution_unless_asked_otherwise() -> None:
    late = ResNet3d(SMALL).layer2[0]
    early = ResNet3d(stages_from({"depths": SMALL.depths, "width": 8}, 50, stride_1x1=True)).layer2[0]
    assert (late.conv1.stride, late.conv2.stride) == ((1, 1, 1), (1, 2, 2))
    assert (early.conv1.stride, early.conv2.stride) == ((1, 2, 2), (1, 1, 1))


def test_wrong_stage_data_is_an_error_that_names_the_argument() -> None:
    with pytest.raises(ValueError, match=r"^temporal_blocks: asks for 7 blocks of layer3, which has 6$"):
        RESNETS_3D["slow_r50"].build(temporal_blocks=[3, 4, 7, 3])
    with pytest.raises(ValueError, match=r"^non_local: has 2 entries"):
        RESNETS_3D["slow_r50"].build(non_local=[[], [1]])
    with pytest.raises(ValueError, match=r"^depth: should be 50, 101 or 152, but is 99$"):
        RESNETS_3D["slow_r50"].build(depth=99)
    with pytest.raises(ValueError, match=r"^position_average: should be 'logits' or 'scores', but is 'votes'$"):
        RESNETS_3D["slow_r50"].build(position_average="votes")


def test_c2d_without_pooling_never_mixes_frames_and_with_it_does() -> None:
    clip = torch.randn(1, 3, 4, 32, 32)
    changed = clip.clone()
    changed[:, :, 0] += 1
    for pool_t, mixes in ((1, False), (2, True)):
        stages = stages_from({"depths": SMALL.depths, "width": 8, "kernels_t": ((1,),) * 4, "pool_t": pool_t}, 50)
        net = ResNet3d(stages).eval()
        randomise(net)
        before, after = net.forward_features(clip), net.forward_features(changed)
        kept = torch.equal(before[:, :, 1:], after[:, :, 1:]) and before.shape[2] == 4
        assert kept != mixes


def test_a_stem_computes_the_same_with_padded_channels() -> None:
    torch.manual_seed(0)
    stem = StemConv3d(3, 8, (5, 7, 7), (1, 2, 2), (2, 3, 3))
    clips = torch.randn(2, 3, 6, 20, 24).contiguous(memory_format=torch.channels_last_3d)
    padded = stem.padded(clips, torch.float32)
    torch.testing.assert_close(padded, stem(clips), rtol=1e-4, atol=1e-5)
    assert padded.is_contiguous(memory_format=torch.channels_last_3d)
    assert [*stem.state_dict()] == ["weight", "bias"] and stem.weight.shape[1] == 3
