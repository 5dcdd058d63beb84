"""Where shifts go: the published places in the published networks, and one per residual block in all others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks.image.backbones import image_backbone
from networks.temporal.branches import every_second_block, residual_branches


def _branches(name: str) -> list[str]:
    with torch.device("meta"):
        net, _ = image_backbone(name)
    return [branch.entry for branch in every_second_block(residual_branches(net, name))]


def test_resnet50_is_shifted_before_conv1_of_every_block() -> None:
    blocks = zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True)
    assert _branches("resnet50") == [f"layer{stage}.{block}.conv1" for stage, n in blocks for block in range(n)]


def test_resnet101_is_shifted_in_every_second_block_of_each_stage() -> None:
    blocks = zip((1, 2, 3, 4), (3, 4, 23, 3), strict=True)
    assert _branches("resnet101") == [f"layer{stage}.{block}.conv1" for stage, n in blocks for block in range(0, n, 2)]


def test_mobilenet_v2_is_shifted_in_its_ten_residual_blocks() -> None:
    residual = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
    assert _branches("mobilenetv2") == [f"features.{index}.conv.0.0" for index in residual]


@pytest.mark.alike
@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("resnet18", 8, "layer1.0.conv1"),
        ("resnet152", 26, "layer1.0.conv1"),
        ("wide_resnet50_2", 16, "layer1.0.conv1"),
        ("mobilenet_v3_small", 6, "features.3.block.0.0"),
        ("efficientnet_b0", 9, "features.2.1.block.0.0"),
        ("regnet_y_400mf", 16, "trunk_output.block1.block1-0.f.a.0"),
        ("convnext_tiny", 18, "features.1.0.block.0"),
        ("densenet121", 58, "features.denseblock1.denselayer1.conv1"),
        ("shufflenet_v2_x1_0", 16, "stage2.0.branch2.0"),
        ("googlenet", 9, "inception3a.branch2.0.conv"),
        ("vgg16", 12, "features.2"),
        ("vit_b_16", 24, "encoder.layers.encoder_layer_0.ln_1"),
        ("swin_t", 24, "features.1.0.norm1"),
    ],
)
def test_other_networks_are_shifted_at_the_head_of_each_branch(name: str, count: int, first: str) -> None:
    found = _branches(name)
    assert (len(found), found[0]) == (count, first)


def test_a_branch_of_the_stem_is_passed_over_because_frames_have_no_channels_to_spare() -> None:
    class Twice(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv2d(channels, 16, size, padding=size // 2) for size in (1, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) + self.two(x)

    net = nn.Sequential(Twice(3), Twice(16))
    assert [branch.entry for branch in residual_branches(net, "repvgg")] == ["1.one"]


def test_a_network_that_cannot_be_traced_is_an_error_with_a_way_out() -> None:
    class Undecided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"^backbone: .*cannot be traced.*tsn without a temporal module"):
        residual_branches(Undecided(), "undecided")


def test_a_network_with_a_single_layer_has_no_place_for_a_shift() -> None:
    with pytest.raises(ValueError, match=r"^backbone: tiny has .*no place for a temporal shift"):
        residual_branches(nn.Sequential(nn.Conv2d(3, 8, 3)), "tiny")
