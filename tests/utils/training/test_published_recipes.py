"""Learning rates and parameter groups that the published training scripts really used (tests/golden/recipes.json)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from methods import METHODS
from methods.base import Method
from networks.prepare import freeze_bn
from tests.helpers.requirements import ROOT
from utils.config.sections import LRScheduler
from utils.training.optimizer import parameter_groups
from utils.training.schedule import schedule

GOLDEN: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "recipes.json").read_text())
MIT, PYSLOWFAST, TORCHVISION = (GOLDEN[source] for source in ("mit_tsm", "pyslowfast", "torchvision"))


def rate_at(rates: np.ndarray, epoch: float, steps_per_epoch: int) -> float:
    step = epoch * steps_per_epoch
    assert step == pytest.approx(round(step)), "the golden epoch does not fall on a step: take more steps per epoch"
    return float(rates[round(step)])


@pytest.mark.parametrize("case", MIT["learning_rate"]["cases"], ids=lambda case: f"{case['lr_type']}-{case['epoch']}")
def test_mit_tsm_holds_its_rate_through_an_epoch(case: dict[str, Any]) -> None:
    steps_per_epoch = 7
    shape: dict[str, Any] = {"type": "STEP", "lr_epochs": [float(epoch) for epoch in case["lr_steps"]]}
    if case["lr_type"] == "cos":
        shape = {"type": "COSINE", "per_epoch": ["schedule"]}
    config = LRScheduler(base_lr=case["lr"], epochs=float(case["epochs"]), **shape)
    during = schedule(config, steps_per_epoch).reshape(case["epochs"], steps_per_epoch)[case["epoch"]]
    model_rate, *_ = case["groups_lr_mult_decay_mult_lr_wd"]
    np.testing.assert_allclose(during, model_rate[2], rtol=1e-12)


@pytest.mark.parametrize("case", PYSLOWFAST["learning_rate"]["cases"], ids=lambda case: case["config"])
def test_pyslowfast_warms_up_to_where_its_schedule_then_is(case: dict[str, Any]) -> None:
    steps_per_epoch = 100
    shape: dict[str, Any] = {"type": "COSINE", "min_lr": case["cosine_end_lr"]}
    shape["cosine_from"] = "warmup" if case["cosine_after_warmup"] else "start"
    if case["policy"] == "steps_with_relative_lrs":
        shape = {"type": "STEP", "lr_epochs": [float(epoch) for epoch in case["steps"][1:]]}
    config = LRScheduler(
        base_lr=case["warmup_start_lr"],
        warmup_lr=case["base_lr"],
        warmup_epochs=case["warmup_epochs"],
        epochs=float(case["max_epoch"]),
        **shape,
    )
    rates = schedule(config, steps_per_epoch)
    found = [rate_at(rates, epoch, steps_per_epoch) for epoch, _ in case["epoch_lr"]]
    np.testing.assert_allclose(found, [rate for _, rate in case["epoch_lr"]], rtol=1e-6)


@pytest.mark.parametrize("case", TORCHVISION["learning_rate"]["cases"], ids=lambda case: str(case["base_lr"]))
def test_torchvision_warms_up_at_every_step_from_a_thousandth(case: dict[str, Any]) -> None:
    config = LRScheduler(
        type="STEP",
        base_lr=case["base_lr"] * case["warmup_start_factor"],
        warmup_lr=case["base_lr"],
        warmup_epochs=float(case["warmup_epochs"]),
        epochs=float(case["epochs"]),
        lr_epochs=[float(epoch) for epoch in case["milestones_epochs"]],
    )
    rates = schedule(config, case["iterations_per_epoch"])
    found = rates[[step for step, _ in case["iteration_lr_used"]]]
    np.testing.assert_allclose(found, [rate for _, rate in case["iteration_lr_used"]], rtol=1e-12)
    assert len(rates) == case["epochs"] * case["iterations_per_epoch"]


def mmengine(num_epochs: int, steps_per_epoch: int, *, warmup: int, by_step: bool, cosine: bool) -> np.ndarray:
    """mmengine's schedulers as the recurrences they are: each multiplies the rate that the one before it left."""
    rates, linear, wave = [], 0.1, 1.0
    span = warmup * (steps_per_epoch if by_step else 1) - 1  # LinearLR counts from its first to its last value
    for step in range(num_epochs * steps_per_epoch):
        epoch, inside = divmod(step, steps_per_epoch)
        if step and (by_step or not inside):
            done = step if by_step else epoch
            linear *= 1 + 0.9 / (0.1 * span + 0.9 * (done - 1)) if done <= span else 1
        if cosine and epoch and not inside:
            wave *= (1 + np.cos(np.pi * epoch / num_epochs)) / (1 + np.cos(np.pi * (epoch - 1) / num_epochs))
        rates.append(linear * wave)
    return np.array(rates)


def test_mmaction2_steps_its_warm_up_once_per_epoch_in_the_2d_recipes() -> None:
    """LinearLR over 5 epochs takes its last value in the fifth: four steps of 0.225."""
    config = LRScheduler(
        type="STEP", base_lr=0.1, warmup_lr=1.0, warmup_epochs=4.0, epochs=12.0, lr_epochs=[11.0], lr_mults=[1.0],
        warmup="factor", per_epoch=["warmup"],
    )  # fmt: skip
    np.testing.assert_allclose(schedule(config, 5), mmengine(12, 5, warmup=5, by_step=False, cosine=False))


def test_mmaction2_multiplies_a_cosine_per_epoch_by_a_warm_up_per_step_in_slowfast() -> None:
    config = LRScheduler(
        base_lr=0.1, warmup_lr=1.0, warmup_epochs=34.0, epochs=256.0, cosine_from="start",
        warmup="factor", per_epoch=["schedule"],
    )  # fmt: skip
    found, expected = schedule(config, 400), mmengine(256, 400, warmup=34, by_step=True, cosine=True)
    # LinearLR ends one step early: 34 * 400 - 1 steps
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def tsm(*, partial_bn: bool, non_local: bool = False, num_class: int = 400, num_segments: int = 8) -> Method:
    with torch.device("meta"):
        arguments = {"num_class": num_class, "num_segments": num_segments, "non_local": non_local}
        model = METHODS["tsm"](backbone="resnet50", dropout=0.5, **arguments)
    if partial_bn:
        freeze_bn(model, keep_first=True)
    return model.train()


@pytest.mark.parametrize(
    "case", MIT["parameter_groups"]["cases"], ids=lambda case: str(sorted(case["options"].items()))
)
def test_mit_tsm_groups_hold_as_many_tensors_and_numbers_as_its_own(case: dict[str, Any]) -> None:
    options = dict(case["options"])
    fc_lr5, _ = options.pop("fc_lr5"), options.pop("is_shift")
    model = tsm(**options)
    tensors, elements = Counter[tuple[float, float]](), Counter[tuple[float, float]]()
    for group in parameter_groups(model, no_wd=False, policy=True, fc_lr5=fc_lr5):
        tensors[group.lr_mult, group.decay_mult] += len(group.params)
        elements[group.lr_mult, group.decay_mult] += sum(parameter.numel() for parameter in group.params)
    expected_tensors, expected_elements = Counter[tuple[float, float]](), Counter[tuple[float, float]]()
    for group in case["groups"]:
        expected_tensors[group["lr_mult"], group["decay_mult"]] += group["tensors"]
        expected_elements[group["lr_mult"], group["decay_mult"]] += group["elements"]
    assert tensors == +expected_tensors and elements == +expected_elements
    still = [part.training for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert still.count(False) == case["batch_norms_2d_in_eval_mode_while_training"]


def test_pyslowfast_lets_biases_decay_but_not_batch_norm() -> None:
    model = tsm(partial_bn=False)
    free = next(group for group in parameter_groups(model, no_wd="norm") if group.decay_mult == 0)
    assert sum(parameter.numel() for parameter in free.params) == 53120
