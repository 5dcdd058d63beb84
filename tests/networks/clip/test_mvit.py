"""MViT of every size, from torchvision's class."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model_builder

from networks.clip.mvit import BUILDERS, mvit_v1_b, mvit_v2_s


@pytest.mark.whole
@pytest.mark.parametrize("name", BUILDERS)
def test_default_sizes_are_torchvisions_networks(name: str) -> None:
    torch.manual_seed(3)
    theirs = get_model_builder(name)(num_classes=5)
    torch.manual_seed(3)
    ours = BUILDERS[name](5)
    assert str(ours).partition("(")[2] == str(theirs).partition("(")[2]
    expected = theirs.state_dict()
    assert [*ours.state_dict()] == [*expected]
    assert all(torch.equal(value, expected[key]) for key, value in ours.state_dict().items())


@pytest.mark.whole
@pytest.mark.parametrize(
    ("build", "arguments", "millions", "clip"),
    [
        (mvit_v1_b, {"temporal_size": 32}, 36.6, (32, 224, 224)),
        (mvit_v1_b, {"temporal_size": 1, "num_class": 1000}, 37.0, (1, 224, 224)),
        (mvit_v1_b, {"spatial_size": 96, "temporal_size": 4}, 36.3, (4, 96, 96)),
        (mvit_v2_s, {"depth": 24, "wider_at": [2, 5, 21], "temporal_size": 32}, 51.2, (32, 224, 224)),
        (
            mvit_v2_s,
            {"depth": 48, "embed_dim": 144, "num_heads": 2, "wider_at": [2, 8, 44]}
            | {"temporal_size": 40, "spatial_size": 312},
            213.4,
            (40, 312, 312),
        ),
    ],
)
def test_published_sizes_have_their_parameters_and_take_their_clips(
    build: type, arguments: dict, millions: float, clip: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        net = build(**arguments)
        assert net(torch.empty(1, 3, *clip)).shape == (1, arguments.get("num_class", 400))
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_size": 90}, "spatial_size: 90 is not a multiple of 4"),
        ({"temporal_size": 7}, "temporal_size: 7 is odd; take an even number of frames, or 1"),
        ({"wider_at": [1, 16]}, "wider_at: block 16 is not one of the 16 blocks, which count from 0"),
        ({"num_heads": 5}, "num_heads: 5 does not divide embed_dim 96"),
        ({"widen_in": "head"}, "widen_in: should be 'attention' or 'mlp'"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mvit_v2_s(**arguments)


def test_clips_of_another_size_are_refused_by_both_sizes() -> None:
    with torch.device("meta"):
        net = mvit_v2_s(spatial_size=64, temporal_size=4)
        with pytest.raises(ValueError, match=r"built for clips of 4 x 64 x 64 .*, not 8 x 64 x 64; set clip_len and"):
            net(torch.empty(1, 3, 8, 64, 64))
