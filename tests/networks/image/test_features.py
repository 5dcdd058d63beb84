"""Features of single frames: what stands for a frame, in every kind of network, and errors for what a network lacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.tsm import TSM
from networks.image.backbones import image_backbone
from networks.image.features import FrameFeatures
from tests.helpers.requirements import needs_new_tracing, needs_package

pytestmark = needs_package("timm", "pip install timm")
SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2}
REGISTERS = "timm/vit_small_patch14_reg4_dinov2"  # a class token and four registers


def _small(name: str, **chosen: Any) -> tuple[nn.Module, FrameFeatures]:
    torch.manual_seed(0)
    net, width = image_backbone(name, SMALL)
    net.eval().requires_grad_(False)
    return net, FrameFeatures(net, width, name, **{"reads": "vectors", **chosen})


def _meta(name: str, **chosen: Any) -> tuple[nn.Module, FrameFeatures]:
    with torch.device("meta"):
        net, width = image_backbone(name)
        return net.eval(), FrameFeatures(net, width, name, **{"reads": "vectors", **chosen})


FRAMES = torch.randn(2, 3, 56, 70, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [224, 154])
def test_dinov2_takes_frames_of_another_size_than_it_was_trained_with(size: int) -> None:
    net, features = _meta("timm/vit_small_patch14_dinov2")
    assert features.vectors(net, torch.empty(1, 3, size, size, device="meta")).shape == (1, 384)


@needs_new_tracing
def test_a_temporal_shift_still_finds_its_places_in_a_vision_transformer() -> None:
    with torch.device("meta"):
        method = TSM(backbone="timm/vit_tiny_patch16_224", num_class=3, num_segments=2).eval()
        assert method(torch.empty(1, 3, 2, 224, 224)).shape == (1, 3)


def test_pooling_takes_the_class_token_the_mean_of_the_patches_or_both() -> None:
    net, _ = _small(REGISTERS)
    rows: Tensor = net.forward_features(FRAMES)  # type: ignore[operator]
    assert rows.shape == (2, 5 + 4 * 5, 32)
    cls, mean = rows[:, 0], rows[:, 5:].mean(1)
    wanted = {"cls": cls, "mean": mean, "both": torch.cat([cls, mean], 1), None: cls}
    for pooling, expected in wanted.items():
        net, features = _small(REGISTERS, pooling=pooling)
        found = features.vectors(net, FRAMES)
        assert found.shape[1] == features.width
        torch.testing.assert_close(found, expected)


def test_registers_says_how_many_tokens_the_mean_leaves_out() -> None:
    net, _ = _small(REGISTERS)
    rows: Tensor = net.forward_features(FRAMES)  # type: ignore[operator]
    found = [_small(REGISTERS, pooling="mean", registers=count)[1].vectors(net, FRAMES) for count in (0, 1, 5)]
    for count, vectors in zip((0, 1, 5), found, strict=True):
        torch.testing.assert_close(vectors, rows[:, count:].mean(1))


def test_the_last_layer_gives_the_tokens_of_no_layer_and_an_earlier_one_gives_others() -> None:
    net, features = _small(REGISTERS, reads="tokens")
    last, by_number, earlier = (
        _small(REGISTERS, reads="tokens", layer=layer)[1].tokens(net, FRAMES) for layer in (-1, 2, 0)
    )
    torch.testing.assert_close(features.tokens(net, FRAMES), last)
    assert torch.equal(last, by_number) and last.shape == earlier.shape and not torch.allclose(last, earlier)


@pytest.mark.whole
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenetv2",
        "googlenet",
        "timm/resnet18",
        "timm/efficientnet_lite0",
        "timm/swin_tiny_patch4_window7_224",
    ],
)
def test_the_mean_of_a_map_is_what_its_network_classifies(name: str) -> None:
    torch.manual_seed(0)
    net, width = image_backbone(name)
    net.eval()
    frames = torch.randn(1, 3, 224, 224)
    features = FrameFeatures(net, width, name, reads="vectors", pooling="mean")
    with torch.no_grad():
        torch.testing.assert_close(features.vectors(net, frames), net(frames), rtol=1e-3, atol=1e-5)
        tokens = FrameFeatures(net, width, name, reads="tokens").tokens(net, frames)
    assert tokens.shape == (1, 49, features.width) and features.width == width


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("resnet18", {"pooling": "cls"}, "pooling: resnet18 has no class token; take `mean`, or leave it out"),
        ("timm/vit_base_patch16_siglip_224", {"pooling": "both"}, "pooling: timm/vit_.* has no class token"),
        ("resnet18", {"registers": 1}, "registers: resnet18 has no tokens in front of those of the picture"),
        ("resnet18", {"layer": 1}, "layer: resnet18 does not name its blocks; leave it out, or take a timm/ backbone"),
        ("timm/vit_tiny_patch16_224", {"layer": 12}, "layer: timm/vit_tiny_.* has the blocks 0 to 11, and no 12"),
        ("vit_b_16", {"reads": "tokens"}, "backbone: the tokens of vit_b_16 cannot be read; take a network of timm"),
    ],
)
def test_what_a_network_does_not_have_is_an_error_that_names_the_argument(
    name: str, chosen: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        _meta(name, **chosen)
