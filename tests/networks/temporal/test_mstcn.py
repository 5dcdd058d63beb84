"""The networks over time see as far as their papers say, and nothing behind the end of a video."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from networks.temporal.mstcn import MSTCN
from networks.temporal.span_pyramid import BESIDES, SpanPyramid

HEADS: dict[str, Callable[[], nn.Module]] = {
    "mstcn": lambda: MSTCN(6, 3, stages=2, layers=3, channels=8),
    "actionformer": lambda: SpanPyramid(6, 3, channels=8, levels=3),
}


@pytest.fixture(params=HEADS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = HEADS[request.param]().eval()
    for parameter in made.parameters():  # also biases, which padding must not let through
        nn.init.normal_(parameter, 0.0, 0.3)
    return made


def answers(network: nn.Module, videos: list[Tensor]) -> list[Tensor]:
    """What the network says of each of some videos (T, 6) in one batch, without what is behind their ends."""
    features = nn.utils.rnn.pad_sequence(videos, batch_first=True, padding_value=7.0)
    there = nn.utils.rnn.pad_sequence([torch.ones(len(one), dtype=torch.bool) for one in videos], batch_first=True)
    said = network(features, there)
    if isinstance(network, MSTCN):
        return [row[:, : len(one)] for row, one in zip(said, videos, strict=True)]
    return [row[~row[:, -2].isnan()] for row in said]


@torch.no_grad()
def test_a_batch_of_unequal_videos_says_what_each_alone_says(network: nn.Module) -> None:
    videos = [torch.randn(length, 6) for length in (13, 1, 20, 7)]
    for together, video in zip(answers(network, videos), videos, strict=True):
        torch.testing.assert_close(together, answers(network, [video])[0], atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_a_stage_of_three_layers_sees_seven_moments_on_each_side() -> None:
    network = MSTCN(6, 3, stages=1, layers=3, channels=8).eval()
    features, there = torch.randn(1, 41, 6), torch.ones(1, 41, dtype=torch.bool)
    changed = features.clone()
    changed[0, 20] += 1
    moved = (network(features, there) != network(changed, there)).any(-1)[0, 0]
    assert moved.nonzero().ravel().tolist() == list(range(20 - 7, 20 + 7 + 1))  # 2 ** (3 + 1) - 1 in all


def test_mstcn_returns_every_stage_with_the_background_behind_the_classes() -> None:
    network = MSTCN(6, 3, stages=4, layers=2, channels=8)
    assert network(torch.randn(2, 9, 6), torch.ones(2, 9, dtype=torch.bool)).shape == (2, 4, 9, 3 + 1)
    assert network.head.weight.shape[0] == 3


@torch.no_grad()
def test_the_points_of_a_pyramid_stand_at_every_stride_and_inside_of_their_spans() -> None:
    points = SpanPyramid(6, 3, channels=8, levels=3)(torch.randn(1, 9, 6), torch.ones(1, 9, dtype=torch.bool))[0]
    assert points.shape == (9 + 5 + 3, 3 + BESIDES)
    start, end, place, stride = points[:, 3:].T
    assert place.tolist() == [*range(9), *range(0, 9, 2), *range(0, 9, 4)]
    assert stride.tolist() == [1] * 9 + [2] * 5 + [4] * 3
    assert (start < place).all() and (place < end).all()
    assert points[:, :3].sigmoid().mean() < 0.05  # few of very many points are part of a span
