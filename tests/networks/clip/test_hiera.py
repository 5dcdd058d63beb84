"""Hiera: the order of its tokens, its sizes, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from networks.clip.hiera import BUILDERS, Hiera, in_units, pooled


def _tiny(**arguments: Any) -> Hiera:
    torch.manual_seed(0)
    sizes = {"depths": [1, 1, 1, 1], "embed_dim": 8, "spatial_size": 64, "temporal_size": 4}
    return BUILDERS["hiera_tiny"](3, **{**sizes, **arguments})


def test_three_pools_take_the_largest_of_each_unit_and_the_first_those_of_neighbours() -> None:
    tokens = torch.rand(2, 3, 16, 24, 5)
    units = in_units(tokens)
    assert units.shape == (2, 3 * 2 * 3, 64, 5)
    once = pooled(units).unflatten(1, (3, 2, 3))  # T, rows and columns of units
    wanted = tokens.unflatten(3, (12, 2)).unflatten(2, (8, 2)).amax((3, 5))  # of 2 x 2 neighbours
    assert torch.equal(once[:, 0, 0, 0].sort(1)[0], wanted[:, 0, :4, :4].flatten(1, 2).sort(1)[0])
    whole = pooled(pooled(pooled(units)))[:, :, 0].unflatten(1, (3, 2, 3))
    assert torch.equal(whole, tokens.unflatten(3, (3, 8)).unflatten(2, (2, 8)).amax((3, 5)))


def test_the_first_two_stages_see_single_units_and_the_rest_all_frames() -> None:
    net = _tiny()
    assert [block.attn.local for block in net.blocks] == [True, True, True, False]
    x = torch.rand(1, 8, 64, 8)
    other = x.clone()
    other[:, 0] += 1
    near, far = (net.blocks[0](x) - net.blocks[0](other)).abs().amax((0, 2, 3)).split([1, 7])
    assert near.item() > 0 and far.max() == 0


def test_logits_depend_on_the_order_of_frames_and_gradients_reach_everything() -> None:
    net, clips = _tiny(), torch.randn(2, 3, 4, 64, 64)
    net.head.projection.weight.data.normal_()
    logits = net(clips)
    assert logits.shape == (2, 3) and not torch.allclose(logits, net(clips.flip(2)), atol=1e-4)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net.tokens(clips).shape == (2, 2, 4, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_size": 112}, "spatial_size: 112 is not a multiple of 32, the side of a unit of tokens"),
        ({"temporal_size": 5}, "temporal_size: 5 is odd; a token covers 2 frames"),
        ({"depths": [1, 1]}, "depths: give the blocks of 4 stages, not of 2"),
        ({"num_heads": 3}, "num_heads: 3 does not divide embed_dim 8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _tiny(**arguments)


def test_a_clip_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"built for clips of 4 x 64 x 64 .*, not 8 x 64 x 64; set clip_len"):
        _tiny()(torch.zeros(1, 3, 8, 64, 64))
