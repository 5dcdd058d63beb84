"""UniFormer and UniFormerV2: what their parts see, their sizes, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.clip3d import Clip3D
from networks.clip import uniformer, uniformer_v2
from networks.image.backbones import image_backbone
from tests.helpers.requirements import needs_package


def _first(**arguments: Any) -> uniformer.UniFormer:
    torch.manual_seed(0)
    return uniformer.BUILDERS["uniformer_s"](3, widths=[8, 16, 64, 64], depths=[1, 1, 1, 1], **arguments).eval()


def _second(**arguments: Any) -> uniformer_v2.UniFormerV2:
    torch.manual_seed(0)
    sizes = {"depth": 2, "embed_dim": 64, "reads": [1], "spatial_size": 32}
    return uniformer_v2.BUILDERS["uniformerv2_b"](3, **{**sizes, **arguments}).eval()


@pytest.mark.parametrize("net", [_first(), _second(), _second(local=True, halve_frames=True)])
def test_any_even_number_of_frames_is_scored_and_their_order_counts(net: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    clips = torch.randn(2, 3, 8, 32, 32)
    assert net(clips).shape == net(clips[:, :, :4]).shape == (2, 3)
    assert not torch.allclose(net(clips), net(clips.flip(2)), atol=1e-4)


def test_uniformer_takes_pictures_of_any_size() -> None:
    assert _first()(torch.zeros(1, 3, 4, 64, 96)).shape == (1, 3)
    with pytest.raises(ValueError, match="UniFormer takes frames of at least 32 x 32, not 24 x 32"):
        _first()(torch.zeros(1, 3, 4, 24, 32))


def test_readers_and_local_mixing_begin_by_adding_nothing() -> None:
    net = _second(local=True)
    assert net.transformer.dec[0](torch.ones(1, 1, 64), torch.randn(1, 5, 64)).eq(1).all()
    assert net.transformer.resblocks[0].lmhra1(torch.randn(4, 5, 64), 4).eq(0).all()


@needs_package("timm")
@pytest.mark.parametrize("halved", [False, True])
def test_uniformer_v2_begins_with_what_clip_sees_in_each_frame_or_in_every_second(halved: bool) -> None:
    tiny = {"embed_dim": 64, "depth": 2, "num_heads": 1, "img_size": 32}
    clip = image_backbone("timm/vit_base_patch16_clip_quickgelu_224", tiny)[0].eval()
    kwargs = {"embed_dim": 64, "depth": 2, "spatial_size": 32, "reads": [0, 1], "local": True, "halve_frames": halved}
    method = Clip3D(backbone="uniformerv2_b", num_class=3, clip_len=4, kwargs=kwargs).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    found = method.from_image_weights(clip.state_dict())
    rest = method.load_state_dict(found, strict=False)
    assert not rest.unexpected_keys
    assert all(method.starts_random(key) or key.startswith("network.head.") for key in rest.missing_keys)
    assert not any(method.starts_random(key) for key in found)
    clips = torch.randn(2, 3, 4, 32, 32)
    frames = clips[:, :, :: 2 if halved else 1].transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        clip.norm = torch.nn.Identity()
        seen = clip.forward_features(frames)[:, 1:].unflatten(0, (2, -1))
        torch.testing.assert_close(method.network.tokens(clips), seen)
    assert method.arch == "timm/vit_base_patch16_clip_quickgelu_224"


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        ("uniformer_s", {"widths": [8, 16, 64]}, "widths: give one for each of 4 stages, not 3"),
        ("uniformer_s", {"widths": [8, 16, 64, 65]}, "widths: 65 is not a multiple of 64, the channels of a head"),
        ("uniformerv2_b", {"reads": [12]}, r"reads: name some of the 12 blocks, which count from 0, not \[12\]"),
        ("uniformerv2_b", {"spatial_size": 100}, "spatial_size: 100 is not a multiple of 16, the side of a patch"),
        ("uniformerv2_b", {"embed_dim": 100}, "embed_dim: 100 is not a multiple of 64, the channels of a head"),
    ],
)
def test_sizes_that_do_not_fit_are_named(build: str, arguments: dict[str, Any], message: str) -> None:
    builders = uniformer.BUILDERS | uniformer_v2.BUILDERS
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        builders[build](3, **arguments)


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"for frames of 32 x 32, not 64 x 32; set kwargs\.spatial_size"):
        _second()(torch.zeros(1, 3, 4, 64, 32))
    with pytest.raises(ValueError, match="joins two frames, and takes no clip of 5"):
        _second(halve_frames=True)(torch.zeros(1, 3, 5, 32, 32))
