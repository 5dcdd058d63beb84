"""Heads over one and over several positions."""

from __future__ import annotations

import torch
from torch import nn

from networks.clip.clip_head import average_positions, classify_positions, pool_positions
from networks.clip.resnet3d import ResNet3d, Stages

SMALL = Stages(depths=(1, 1, 1, 1), width=8)


def test_one_window_at_the_training_crop_and_several_at_a_larger_one() -> None:
    features = torch.randn(2, 8, 4, 8, 8)
    assert pool_positions(features, (None, 7, 7)).shape == (2, 8, 1, 2, 2)
    assert torch.allclose(
        pool_positions(features[..., :7, :7], (None, 7, 7)).flatten(1), features[..., :7, :7].mean((2, 3, 4))
    )
    assert pool_positions(features[..., :3, :3], (None, 7, 7)).shape == (2, 8, 1, 1, 1)
    assert pool_positions(features, (3, None, None)).shape == (2, 8, 2, 1, 1)


def test_average_of_scores_is_a_softmax_of_what_the_network_returns() -> None:
    logits = torch.randn(2, 4, 5)
    expected = logits.softmax(-1).mean(1)
    assert torch.allclose(average_positions(logits, "scores").softmax(-1), expected, atol=1e-6)
    assert torch.allclose(average_positions(logits, "logits"), logits.mean(1))
    assert torch.equal(average_positions(logits[:, :1], "scores"), logits[:, 0])
    assert classify_positions(torch.randn(2, 8, 1, 2, 2), nn.Linear(8, 5)).shape == (2, 4, 5)


def test_scores_are_averaged_in_evaluation_only() -> None:
    clip = torch.randn(2, 3, 2, 64, 64)
    net = ResNet3d(SMALL, num_class=5, crop_size=32, dropout=0.0, position_average="scores")
    nn.init.normal_(net.fc.weight)
    nets = {mode: net.train(mode)(clip) for mode in (True, False)}
    assert torch.allclose(nets[False].exp().sum(1), torch.ones(2), atol=1e-5)  # log of probabilities
    assert not torch.allclose(nets[True].exp().sum(1), torch.ones(2), atol=1e-2)
