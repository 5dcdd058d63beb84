"""Every network over a clip, by the table: shapes, gradients, finite numbers."""

from __future__ import annotations

import pytest
import torch

from networks import CLIP_NETWORKS
from networks.clip.table import EXAMPLES


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", sorted(CLIP_NETWORKS))
def test_each_clip_network_scores_classes_and_backward_reaches_every_parameter(name: str) -> None:
    with torch.device("meta"):
        net = CLIP_NETWORKS[name](num_class=7, dropout=0.5)
    logits = net(torch.empty(2, 3, *EXAMPLES[name], device="meta"))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("name", ["slow_nln_r50", "csn_r101", "r2plus1d_r50", "ip_csn_152", "rmc3_18", "resnet18_3d"])
def test_small_clips_give_finite_scores_and_gradients(name: str) -> None:
    net = CLIP_NETWORKS[name](num_class=3)
    logits = net(torch.randn(2, 3, 8, 32, 32))
    logits.logsumexp(1).sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)
