"""Video Swin of every size, from torchvision's class."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model_builder

from networks.clip.swin import BUILDERS, swin3d_b, swin3d_t


@pytest.mark.parametrize("name", BUILDERS)
def test_default_sizes_are_torchvisions_networks(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = BUILDERS[name](5), get_model_builder(name)(num_classes=5)
    assert str(ours) == str(theirs)
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


def test_width_window_and_depth_drop_reach_the_network() -> None:
    with torch.device("meta"):
        net = swin3d_b(7, embed_dim=192, window=[16, 7, 7], drop_path=0.4)
    first, last = net.features[0][0], net.features[6][1]
    assert first.attn.num_heads == 6 and last.attn.num_heads == 48 and last.attn.window_size == [16, 7, 7]
    assert last.stochastic_depth.p == 0.4 and net.head.in_features == 8 * 192
    assert sum(parameter.numel() for parameter in net.parameters()) > 190e6


def test_the_classifier_drops_in_training_only() -> None:
    torch.manual_seed(0)
    net, x = swin3d_t(4, dropout=0.9), torch.ones(1, 768)
    assert torch.equal(net.eval().head(x), net.head(x))
    assert not torch.equal(net.train().head(x), net.head(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": [8, 7]}, r"window: give three sizes, \[8, 7, 7\] for frames, height and width, not 2"),
        ({"embed_dim": 100}, "embed_dim: 100 is not a multiple of 32"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swin3d_b(**arguments)
