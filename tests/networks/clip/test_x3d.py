"""X3D: what every published size has in common, and what its arguments change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks.clip.x3d import BUILDERS, X3DS, SqueezeExcitation, X3DBlock, depths, round_width
from utils.errors import ConfigError
from utils.training.blocks import blocks_of


def _small(**changes: object) -> nn.Module:
    torch.manual_seed(0)
    return BUILDERS["x3d_xs"](num_class=3, dropout=0.0, **changes)


def test_depths_and_widths_are_the_published_ones() -> None:
    assert depths(2.2) == (3, 5, 11, 7) and depths(5.0) == (5, 10, 25, 15)
    assert [round_width(channels, 1 / 16) for channels in (54, 108, 216, 432)] == [8, 8, 16, 32]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_second_block_of_a_stage_is_excited_and_only_the_first_shortcut_may_have_no_norm(name: str) -> None:
    with torch.device("meta"):
        net = BUILDERS[name]()
    blocks = {place: block for place, block in net.named_modules() if isinstance(block, X3DBlock)}
    assert list(blocks) == list(blocks_of(net)) and len(blocks) == sum(depths(X3DS[name].depth))
    excited = {place for place, block in blocks.items() if isinstance(block.se, SqueezeExcitation)}
    assert excited == {place for place in blocks if int(place.rpartition(".")[2]) % 2 == 0}
    shortcuts = {place: block.downsample for place, block in blocks.items() if block.downsample is not None}
    norms = {place: len(list(shortcut)) - 1 for place, shortcut in shortcuts.items()}
    assert norms == {"layer1.0": int("efficient" in name), "layer2.0": 1, "layer3.0": 1, "layer4.0": 1}


def test_time_is_never_strided_and_space_is_halved_five_times() -> None:
    with torch.device("meta"):
        assert BUILDERS["x3d_xs"]().forward_features(torch.empty(1, 3, 5, 160, 182)).shape == (1, 192, 5, 5, 6)


@pytest.mark.whole
def test_a_new_network_passes_each_block_on_and_a_larger_crop_has_more_positions() -> None:
    net = _small(crop_size=32).eval()
    assert all(not block.bn3.weight.any() for block in net.modules() if isinstance(block, X3DBlock))
    clip = torch.randn(1, 3, 2, 64, 64)
    with torch.no_grad():
        several, one = net(clip), _small(crop_size=None).eval()(clip)
        scores = _small(crop_size=32, position_average="scores").eval()(clip)
    assert not torch.equal(several, one)
    torch.testing.assert_close(scores.exp().sum(), torch.tensor(1.0))  # logarithms of probabilities


def test_each_size_has_the_window_of_its_training_crop() -> None:
    with torch.device("meta"):
        windows = {name: builder().head_window for name, builder in BUILDERS.items()}
        assert BUILDERS["x3d_l"](crop_size=None).head_window == (None, None, None)
    assert windows["x3d_xs"] == windows["x3d_s"] == (None, 5, 5)
    assert windows["x3d_m"] == (None, 7, 7) and windows["x3d_l"] == (None, 10, 10)
    assert windows["efficient_x3d_xs"] == (None, None, None)


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^crop_size: "):
        BUILDERS["x3d_m"](crop_size=0)
