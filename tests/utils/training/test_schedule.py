from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.optim.lr_scheduler as lrs

from utils.config.sections import LRScheduler
from utils.errors import ConfigError
from utils.training.schedule import schedule, total_steps

SEED = LRScheduler(type="COSINE", base_lr=0.01, warmup_steps=500, warmup_lr=0.04, min_lr=0.0, max_iter=15010)


def test_the_seeds_schedule_has_the_golden_trace_to_six_digits() -> None:
    rates = schedule(SEED, steps_per_epoch=100.0)
    golden = {
        0: ".010000", 100: ".016000", 400: ".034000", 490: ".039400", 500: ".040000", 510: ".040000",
        600: ".039995", 1000: ".039883", 5000: ".031235", 10000: ".010657", 15000: ".000000",
    }  # fmt: skip
    assert {step: f"{rates[step]:.6f}".lstrip("0") for step in golden} == golden
    assert len(rates) == 15010


def test_warmup_lr_is_the_peak_and_is_ignored_without_warmup() -> None:
    assert schedule(SEED, 1.0).max() == pytest.approx(0.04)
    assert schedule(SEED.model_copy(update={"warmup_steps": 0}), 1.0).max() == pytest.approx(0.01)


def test_step_changes_at_iterations_and_factors_multiply_up() -> None:
    config = LRScheduler(
        type="STEP", base_lr=0.004, warmup_steps=200, warmup_lr=0.02, max_iter=15010,
        lr_steps=[5000, 9000, 12000], lr_mults=[0.1, 0.1, 0.1],
    )  # fmt: skip
    rates = schedule(config, 1.0)
    np.testing.assert_allclose(
        rates[[0, 100, 200, 4999, 5000, 8999, 9000, 12000, 15009]],
        [0.004, 0.012, 0.02, 0.02, 0.002, 0.002, 0.0002, 0.00002, 0.00002],
    )


def test_keys_in_epochs_are_the_same_schedule_in_iterations() -> None:
    epochs = LRScheduler(type="STEP", base_lr=0.1, warmup_epochs=2.0, warmup_lr=0.2, epochs=10.0, lr_epochs=[4.0, 8.0])
    steps = LRScheduler(type="STEP", base_lr=0.1, warmup_steps=25, warmup_lr=0.2, max_iter=125, lr_steps=[50, 100])
    np.testing.assert_array_equal(schedule(epochs, 12.5), schedule(steps, 12.5))
    assert total_steps(LRScheduler(base_lr=0.1, epochs=1.0), 12.5) == 13


def test_a_cosine_from_the_start_is_entered_by_the_warmup_at_its_own_height() -> None:
    """PySlowFast: 196 epochs, cosine from 0.1, warm-up of 34 epochs from 0.01; no jump where the two meet."""
    config = LRScheduler(base_lr=0.01, warmup_lr=0.1, warmup_epochs=34.0, epochs=196.0, cosine_from="start")
    rates = schedule(config, 10.0)
    expected = 0.1 * (1 + np.cos(np.pi * 340 / 1960)) / 2
    assert rates[340] == pytest.approx(expected)
    assert rates[0] == pytest.approx(0.01) and np.abs(np.diff(rates)).max() < 3e-4


@pytest.mark.parametrize("form", ["line", "factor", "constant"])
@pytest.mark.parametrize(
    "keys",
    [{"warmup_steps": 6, "max_iter": 5}, {"warmup_epochs": 2.5, "epochs": 2}, {"warmup_epochs": 3, "max_iter": 5}],
)
def test_a_warmup_longer_than_the_run_is_an_error(keys: dict[str, Any], form: str) -> None:
    config = LRScheduler.model_validate({"base_lr": 0.1, "warmup_lr": 1.0, "warmup": form, **keys})
    with pytest.raises(
        ConfigError, match=r"^common.lr_scheduler.warmup_\w+: the warm-up takes [56] steps and the run only"
    ):
        schedule(config, 2.0)


def test_a_run_as_long_as_its_warmup_only_warms_up() -> None:
    rates = schedule(LRScheduler(base_lr=0.1, warmup_lr=1.0, warmup_steps=5, max_iter=5), 1.0)
    np.testing.assert_allclose(rates, 0.1 + 0.9 * np.arange(5) / 5)


@pytest.mark.parametrize(("method", "words"), [("linear", "line"), ("constant", "constant")])
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch 2.6, of its own SequentialLR
def test_a_step_schedule_with_warm_up_is_that_of_torchvisions_script(method: str, words: str) -> None:
    per_epoch, warm, milestones, peak = 7, 3, [5, 8], 0.64
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=peak)
    first: Any = {
        "linear": lambda: lrs.LinearLR(optimizer, start_factor=0.001, total_iters=warm * per_epoch),
        "constant": lambda: lrs.ConstantLR(optimizer, factor=0.001, total_iters=warm * per_epoch),
    }[method]()
    then = lrs.MultiStepLR(optimizer, [per_epoch * (epoch - warm) for epoch in milestones], gamma=0.1)
    whole = lrs.SequentialLR(optimizer, [first, then], milestones=[warm * per_epoch])
    theirs = []
    for _ in range(10 * per_epoch):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        whole.step()
    config = LRScheduler(
        type="STEP", base_lr=peak * 0.001, warmup_epochs=warm, warmup_lr=peak, warmup=words, epochs=10,
        lr_epochs=milestones, lr_mults=[0.1, 0.1],
    )  # fmt: skip
    np.testing.assert_allclose(schedule(config, per_epoch), theirs, rtol=1e-6)
