from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

from tests.helpers.grey import ALONE, CPU, GreyList, Mean, batch, config
from tests.helpers.ranks import run_ranks
from utils.errors import FrameError, UserError
from utils.training.batch import Batch
from utils.training.precision import Precision
from utils.training.state import TrainState
from utils.training.trainer import Trainer

Calls = list[tuple[str, int]]


def train(
    batches: list[Batch],
    *,
    model: nn.Module | None = None,
    start: int = 0,
    last_validation: int = 0,
    **keys: object,
) -> tuple[TrainState, Calls]:
    """Trains on the batches, and returns the state and what was due or left out after which step."""
    common = config(**{"print_freq": 2, "val_freq": 4, "ckpt_freq": 3, "steps": len(batches)} | keys)
    trainer = Trainer(model or Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    trainer.state.step, trainer.state.last_validation = start, last_validation
    calls: Calls = []
    for step in trainer.steps(batches, until=lambda: False):
        calls += [(text, step.number) for text in step.left_out]
        if step.prints:
            calls.append(("print", step.number))
        if step.validates:
            calls.append(("validate", step.number))
        if step.saves:
            best = step.validates and trainer.state.note_best(50.0, 1.0)
            calls.append(("save best" if best else "save", step.number))
    return trainer.state, calls


def test_validation_runs_at_multiples_and_not_again_close_to_the_end() -> None:
    _, calls = train([batch(0, 255, labels=[0, 1])] * 10)
    assert [step for what, step in calls if what == "validate"] == [4, 8]
    assert [step for what, step in calls if what == "print"] == [0, 2, 4, 6, 8, 9]
    assert [call for call in calls if call[0].startswith("save")] == [
        ("save", 2), ("save best", 4), ("save", 5), ("save", 8), ("save", 9),
    ]  # fmt: skip


@pytest.mark.parametrize(("total", "validated"), [(15010, [15000]), (15000, [14999])])
def test_the_last_validation_is_at_a_multiple_or_at_the_end(total: int, validated: list[int]) -> None:
    """The original project's trick: 15000 is a multiple of 250 and only reached because the run is longer."""
    batches = [batch(0, labels=[0])] * (total - 14990)
    state, calls = train(batches, start=14990, last_validation=14751, steps=total, val_freq=250)
    assert [step for what, step in calls if what == "validate"] == validated
    assert state.step == total


@pytest.mark.parametrize(("last_validation", "validated"), [(9, []), (0, [10])])
def test_a_run_ends_with_a_validation_where_none_counts(last_validation: int, validated: list[int]) -> None:
    _, calls = train([batch(0, labels=[0])] * 2, start=9, last_validation=last_validation, steps=11)
    assert [step for what, step in calls if what == "validate"] == validated
    state = TrainState(best_prec1=50.0, best_step=3, last_validation=3)
    state.forget_best()
    assert (state.best_step, state.last_validation) == (0, 0)


def test_a_run_that_was_made_longer_is_validated_at_its_new_end() -> None:
    """A run of 2 steps that is validated every 250 was validated at its end, and then goes on for 2 more."""
    _, calls = train([batch(0, labels=[0])] * 2, start=2, last_validation=2, steps=4, val_freq=250)
    assert [step for what, step in calls if what == "validate"] == [3]


def test_accumulated_batches_are_one_step_of_the_larger_batch() -> None:
    one, other = Mean(), Mean()
    other.load_state_dict(one.state_dict())
    train([batch(10, 200, 90, 30, labels=[0, 1, 1, 0])], model=one)
    train([batch(10, 200, labels=[0, 1]), batch(90, 30, labels=[1, 0])], model=other, steps=1, accumulate=2)
    torch.testing.assert_close(one.head.weight, other.head.weight)


def test_the_loop_ends_after_the_step_in_which_an_end_is_asked_for() -> None:
    common = config(steps=5)
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    *_, last = trainer.steps([batch(0, labels=[0])] * 5, until=lambda: trainer.state.step == 2)
    assert (last.number, last.saves, last.stops, trainer.is_done) == (1, True, True, False)


def test_patience_counts_validations_since_the_best_and_a_new_best_starts_again() -> None:
    common = config(steps=20, val_freq=2, patience=2, val_source="val.txt")
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    scores = iter([50.0, 40.0, 60.0, 60.0, 59.0, 90.0])
    for step in trainer.steps([batch(0, labels=[0])] * 20, until=lambda: False):
        if step.validates:
            trainer.state.note_best(next(scores), 1.0)
    # after steps 2, 4, 6, 8, 10; the equal 60 with an equal loss is not better
    assert (trainer.state.step, trainer.state.since_best, trainer.state.best_prec1) == (11, 2, 60.0)
    assert trainer.is_done and next(scores) == 90.0
    again = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    again.resume(trainer.state_dict())
    assert again.is_done and list(again.steps([], until=lambda: False)) == []
    longer = config(steps=20, val_freq=2, patience=3, val_source="val.txt")
    more = Trainer(Mean(), longer, GreyList(longer, 9), rank=ALONE, precision=Precision("off", CPU))
    more.resume(trainer.state_dict())
    assert not more.is_done


def test_each_group_learns_at_its_own_multiple_of_the_rate() -> None:
    common = config(steps=2, policy=True)  # biases learn at twice the rate
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    next(trainer.steps([batch(0, labels=[0])] * 2, until=lambda: False))
    rates = {group["name"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == {"policy bias": 0.2, "weight": 0.1}


@pytest.mark.parametrize("often", [{"val_freq": 4}, {"val_epochs": 4 / 9}])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_keeps_its_first_batch_where_a_picture_of_it_is_due(parts: int, often: dict[str, float]) -> None:
    common = config(steps=9, accumulate=parts, watch={"clips": 2}, **often)
    trainer = Trainer(Mean(), common, GreyList(common, 9 * parts), rank=ALONE, precision=Precision("off", CPU))
    shown = [0, 4, 8]
    batches = [batch(place, labels=[0]) for place in range(9 * parts)]
    kept = {step.number: step.clips for step in trainer.steps(batches, until=lambda: False) if step.clips is not None}
    assert list(kept) == shown
    assert [round(float(clips.mean()) * 255) for clips in kept.values()] == [parts * number for number in shown]


class Sore(Mean):
    """Its loss is nan for a white clip, and so would be its batch norm's statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, clips: Tensor) -> Tensor:
        means = clips.mean(dim=(1, 2, 3, 4))[:, None]
        return self.head(self.norm(torch.where(means > 0.99, torch.nan, means)))


def test_a_skipped_step_is_as_if_it_had_not_been() -> None:
    one, other = Sore(), Sore()
    other.load_state_dict(one.state_dict())
    good, bad = batch(10, 200, labels=[0, 1]), batch(10, 255, labels=[0, 1], first=7)
    state, calls = train([bad, good, bad], model=one, bad_loss_budget=2)
    train([good], model=other)
    torch.testing.assert_close(one.state_dict(), other.state_dict())
    assert calls.count(("step 0: the loss is nan; videos of the batch: 7, 8", 0)) == 1
    assert state.bad_losses == 2 and np.isfinite(state.meters["loss"].mean)


def test_more_skipped_steps_than_the_budget_end_the_run() -> None:
    with pytest.raises(
        UserError, match=r"step 2: .* videos of the batch: 0, 1. That is 2 step\(s\), bad_loss_budget is 1"
    ):
        train([batch(0, 255, labels=[0, 1])] * 3, model=Sore(), start=1, steps=4, bad_loss_budget=1)


def as_rank(rank: int, model: nn.Module | None = None, **keys: object) -> Trainer:
    """A trainer of one process of those that are connected."""
    common = config(**{"print_freq": 2, "val_freq": 4} | keys)
    place = replace(ALONE, number=rank, world_size=dist.get_world_size())
    return Trainer(model or Mean(), common, GreyList(common, 9), rank=place, precision=Precision("off", CPU))


def _left_out(rank: int) -> list[str]:
    faults = ["", f"list:{rank + 1}: broken"] if rank else []
    trainer = as_rank(rank, bad_frame_budget=9, steps=2)
    steps = trainer.steps([batch(10, 200, labels=[0, 1], faults=faults)] * 2, until=lambda: False)
    return [text for step in steps for text in step.left_out]


@pytest.mark.gloo
def test_the_first_process_reports_what_another_one_left_out() -> None:
    reported = run_ranks(2, _left_out)
    assert reported[0] == ["list:2: broken"] * 2


def _beyond_budget(rank: int) -> str:
    trainer = as_rank(rank, bad_frame_budget=1, steps=3)
    bad = batch(10, 200, labels=[0, 1], faults=["", f"list:{rank}: broken"])
    with pytest.raises(FrameError) as error:
        list(trainer.steps([bad] * 3, until=lambda: False))
    return str(error.value)


@pytest.mark.gloo
def test_faults_that_only_together_exceed_the_budget_are_all_named_by_all() -> None:
    text = "step 0: 2 unreadable video(s), bad_frame_budget is 1: list:0: broken; list:1: broken"
    assert run_ranks(2, _beyond_budget) == [text, text]


def _bad_loss(rank: int, budget: int) -> list[Any]:
    """Two steps, in the first of which the loss of rank 1 is nan."""
    trainer = as_rank(rank, Sore(), steps=2, bad_loss_budget=budget)
    first = [batch(10, 255 if rank == 1 else 200, labels=[0, 1], first=7 * rank)]
    steps = trainer.steps([*first, batch(10, 200, labels=[0, 1])], until=lambda: False)
    if budget:
        return [[text for step in steps for text in step.left_out], trainer.model.head.weight.tolist()]
    with pytest.raises(UserError) as error:
        list(steps)
    return [str(error.value)]


@pytest.mark.gloo
def test_a_bad_loss_of_one_process_is_skipped_or_named_by_all_together() -> None:
    named = "step 0: the loss is nan; videos of the batch: 7, 8"
    skipped = run_ranks(2, _bad_loss, 1)
    assert skipped[0] == skipped[1] and skipped[0][0] == [named] and np.isfinite(skipped[0][1]).all()
    assert all(text.startswith(f"{named}. The last checkpoint") for [text] in run_ranks(2, _bad_loss, 0))


def _asked(rank: int) -> list[int]:
    trainer = as_rank(rank, steps=9, print_freq=9)
    steps = trainer.steps([batch(0, labels=[0])] * 9, until=lambda: rank == 1 and trainer.state.step >= 2)
    return [step.number for step in steps if step.saves and step.stops]


@pytest.mark.gloo
def test_when_one_process_asks_for_an_end_all_end_two_steps_later() -> None:
    assert run_ranks(2, _asked) == [[3], [3]]  # asked for before step 2, known during step 3


class Waits(TorchFunctionMode):
    """Notes every place where the host takes numbers out of a tensor, for which it would wait on a GPU."""

    NAMES: ClassVar = {"tolist", "item", "cpu", "numpy", "__float__", "__bool__", "__int__", "nonzero", "__array__"}

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, str]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in self.NAMES:
            self.noted.append((name, str(args[0].dtype)))
        return function(*args, **kwargs or {})


def _communication(rank: int, keys: dict[str, Any]) -> list[Any]:
    """Per step: collectives on the device's own connection, those for what is on the host, and waits of the host."""
    parts = keys.get("accumulate", 1)
    trainer = as_rank(rank, steps=6, print_freq=100, val_freq=100, **keys)
    steps = trainer.steps([batch(0, labels=[0])] * 6 * parts, until=lambda: False)
    next(steps), next(steps)  # the first connects and prints
    found: list[Any] = []
    for _ in range(2):
        with Waits() as waits, profile(activities=[ProfilerActivity.CPU]) as seen:
            next(steps)
        collectives = sorted(event.name for event in seen.events() if event.name.startswith("c10d::"))
        found.append([collectives, waits.noted])
    return found


@pytest.mark.gloo
@pytest.mark.parametrize(("keys", "waits"), [({}, 1), ({"accumulate": 2}, 1), ({"bad_loss_budget": 1}, 2)])
def test_a_step_sends_its_gradients_and_its_numbers_and_the_host_waits_for_numbers_only(
    keys: dict[str, Any], waits: int
) -> None:
    for found in run_ranks(2, _communication, keys):
        for collectives, noted in found:
            assert collectives == ["c10d::allreduce_"] * 2  # the one bucket of this network, and the numbers
            assert noted.count(("tolist", "torch.float64")) == waits
            # the only other one is about the indices of the batch, which never leave the host
            assert set(noted) == {("tolist", "torch.float64"), ("tolist", "torch.int64")}


def test_an_unreadable_clip_does_not_move_the_weights() -> None:
    one, other = Mean(), Mean()
    other.load_state_dict(one.state_dict())
    good = batch(10, 200, labels=[0, 1])
    bad = batch(10, 200, 0, labels=[0, 1, 0], faults=["", "", "list:3: broken"])
    state, calls = train([bad], model=one, bad_frame_budget=1)
    train([good], model=other)
    torch.testing.assert_close(one.head.weight, other.head.weight, rtol=0, atol=0)
    assert state.bad_videos == 1 and ("list:3: broken", 0) in calls


def test_beyond_the_budget_the_run_ends_before_it_learns_from_the_batch() -> None:
    model = Mean()
    before = model.head.weight.clone()
    with pytest.raises(FrameError, match=r"step 0: 1 unreadable video\(s\), bad_frame_budget is 0: list:3: broken"):
        train([batch(1, labels=[0], faults=["list:3: broken"])], model=model)
    assert torch.equal(model.head.weight, before)


def test_of_equal_scores_the_lower_loss_is_best() -> None:
    state, kept = TrainState(), []
    for step, (score, loss) in enumerate(
        [(50.0, 0.6), (50.0, 0.16), (50.0, 0.3), (60.0, 9.0), (60.0, float("nan"))], 1
    ):
        state.step = step
        kept.append(state.note_best(score, loss))
    assert kept == [True, True, False, True, False]
    assert (state.best_prec1, state.best_loss, state.best_step) == (60.0, 9.0, 4)
    resumed = TrainState()
    resumed.load_state_dict(state.state_dict())
    assert resumed == state


def test_training_without_an_average_goes_on_from_the_weights_that_were_trained() -> None:
    averaged = config(steps=3, ema=0.5)
    one = Trainer(Mean(), averaged, GreyList(averaged, 9), rank=ALONE, precision=Precision("off", CPU))
    list(one.steps([batch(10, labels=[0])] * 3, until=lambda: False))
    saved = one.state_dict()
    plain, model = config(steps=4), Mean()
    model.load_state_dict(saved["state_dict"])
    Trainer(model, plain, GreyList(plain, 9), rank=ALONE, precision=Precision("off", CPU)).resume(saved)
    assert not torch.equal(model.head.bias, saved["state_dict"]["head.bias"])
    torch.testing.assert_close(model.head.bias, one.model.head.bias)
