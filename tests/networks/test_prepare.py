from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from methods import METHODS
from networks.prepare import freeze_all_but, freeze_bn, freeze_parts


class Two(nn.Module):
    """Two batch norms with statistics of their own, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        for norm in (self.first, self.second):
            norm.running_mean.fill_(3.0)
            norm.running_var.fill_(4.0)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(values))

    def train(self, mode: bool = True) -> Two:
        super().train(mode)
        for norm in (self.first, self.second):
            if getattr(norm, "frozen", False):
                norm.eval()
        return self


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("how", ["frozen_bn", "partial_bn", "freeze"])
def test_statistics_computed_anew_leave_frozen_norms_alone(how: str, averaged: bool) -> None:
    model = Two()
    if how == "freeze":
        freeze_parts(model, ["second"])
    else:
        freeze_bn(model, keep_first=how == "partial_bn")
    scored = AveragedModel(model).module if averaged else model
    before = copy.deepcopy(scored.state_dict())
    values = torch.tensor([[1.0], [2.0], [6.0]])
    update_bn([values], scored)
    after = scored.state_dict()
    frozen = ["first", "second"] if how == "frozen_bn" else ["second"]
    for name in before:
        if name.split(".")[0] in frozen:
            assert torch.equal(after[name], before[name]), name
    scored.eval()
    if how == "frozen_bn":
        torch.testing.assert_close(scored(values), ((values - 3) / 2 - 3) / 2, atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(after["first.running_mean"], torch.tensor([3.0]))  # of the three values
        torch.testing.assert_close(after["first.running_var"], torch.tensor([7.0]))


def test_all_but_the_classifier_is_frozen_for_good() -> None:
    method = METHODS["clip3d"](backbone="x3d_xs", num_class=2, clip_len=2, dropout=0.5)
    freeze_all_but(method, "network.fc")
    method.train()
    assert {name for name, part in method.named_parameters() if part.requires_grad} == {
        "network.fc.weight",
        "network.fc.bias",
    }
    learning = {name for name, part in method.named_modules() if part.training and not any(part.children())}
    assert learning == {"network.fc"}  # no norm counts, and nothing is dropped
