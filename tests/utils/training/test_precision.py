from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from utils.training import precision
from utils.training.precision import Precision, only_repeatable

CPU = torch.device("cpu")


@pytest.mark.parametrize(("fast", "name", "dtype"), [(True, "bf16", torch.bfloat16), (False, "off", torch.float32)])
def test_auto_is_bf16_only_where_the_device_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool, name: str, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "computes_in_bf16", lambda device: fast)
    chosen = Precision("auto", CPU)
    assert chosen.name == name
    with chosen.autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype


def test_fp16_scales_the_loss_and_its_scale_survives() -> None:
    one, other = Precision("fp16", CPU, static_scale=8.0), Precision("fp16", CPU)
    weight = nn.Parameter(torch.ones(1))
    one.backward((2 * weight).sum())
    assert weight.grad is not None and weight.grad.item() == 16.0
    other.load_state_dict(one.state_dict())
    assert other.state_dict()["scale"] == 8.0
    assert other.state_dict()["growth_interval"] == 2000  # adapts again


def test_a_fixed_loss_scale_stays_as_asked_for_after_a_restart() -> None:
    resumed = Precision("fp16", CPU, static_scale=32.0)
    resumed.load_state_dict(Precision("fp16", CPU).state_dict())
    assert resumed.state_dict()["scale"] == 32.0


def test_the_gradients_norm_is_clipped_before_the_update() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    chosen = Precision("off", CPU)
    chosen.backward(100 * model(torch.ones(1, 1)).sum())
    chosen.update(optimizer, model, clip_gradient=0.5)
    assert before - model.weight.item() == pytest.approx(0.5)


@pytest.mark.parametrize(("kernel", "name"), [((1, 3, 3), "bf16"), ((3, 1, 1), "off")])
def test_auto_avoids_bf16_on_a_cpu_for_convolutions_over_time(
    monkeypatch: pytest.MonkeyPatch, kernel: tuple[int, int, int], name: str
) -> None:
    """Their weight gradients were seen to be wrong there."""
    monkeypatch.setattr(precision, "computes_in_bf16", lambda device: True)
    assert Precision("auto", CPU, model=nn.Conv3d(3, 4, kernel)).name == name
    assert Precision("auto", torch.device("meta"), model=nn.Conv3d(3, 4, kernel)).name == "bf16"


def test_deterministic_leaves_only_algorithms_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        only_repeatable()
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
