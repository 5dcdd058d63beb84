from __future__ import annotations

import pytest
import torch
from torch import nn

from utils.clip_spec import ClipSpec
from utils.training.optimizer import parameter_groups


class Net(nn.Module):
    clip: ClipSpec

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)


def by_name(model: nn.Module, **options: bool) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group.lr_mult, group.decay_mult)
        for group in parameter_groups(model, **{"no_wd": False, **options})
        for parameter in group.params
    }


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = Net()
    model.conv.weight.requires_grad_(False)
    params = [id(p) for group in parameter_groups(model, no_wd=True, policy=True, fc_lr5=True) for p in group.params]
    assert sorted(params) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_no_wd_frees_biases_and_both_parameters_of_batch_norm() -> None:
    assert by_name(Net(), no_wd=True) == {
        "conv.weight": (1, 1), "conv.bias": (1, 0), "norm.weight": (1, 0), "norm.bias": (1, 0),
        "head.weight": (1, 1), "head.bias": (1, 0),
    }  # fmt: skip


def test_without_options_everything_decays() -> None:
    assert set(by_name(Net()).values()) == {(1, 1)}


def test_policy_doubles_the_rate_of_biases_and_fc_lr5_speeds_up_the_head() -> None:
    expected = {
        "conv.weight": (1, 1), "conv.bias": (2, 0), "norm.weight": (1, 0), "norm.bias": (1, 0),
        "head.weight": (1, 1), "head.bias": (2, 0),
    }  # fmt: skip
    assert by_name(Net(), policy=True) == expected
    assert by_name(Net(), policy=True, fc_lr5=True) == expected | {"head.weight": (5, 1), "head.bias": (10, 0)}


def test_policy_speeds_up_the_first_convolution_on_flow_alone() -> None:
    for modality, expected in (("flow", ((5, 1), (10, 0))), ("rgbdiff", ((1, 1), (2, 0))), ("rgb", ((1, 1), (2, 0)))):
        model = Net()
        model.clip = ClipSpec(3, modality=modality)
        found = by_name(model, policy=True)
        assert (found["conv.weight"], found["conv.bias"]) == expected
        assert found | {"conv.weight": (1, 1), "conv.bias": (2, 0)} == by_name(Net(), policy=True)
        assert by_name(model) == by_name(Net())


def test_no_wd_wins_over_policy() -> None:
    assert by_name(Net(), no_wd=True, policy=True, fc_lr5=True) == by_name(Net(), no_wd=True)


def test_a_layer_of_a_kind_not_known_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="Odd has parameters of its own"):
        parameter_groups(nn.Sequential(Odd()), no_wd=False)
