from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.ranks import run_ranks
from utils.errors import FrameError, UserError
from utils.scoring.losses import LabelSmoothCrossEntropy
from utils.training.batch import Batch
from utils.training.loop import evaluate, train
from utils.training.mixup import MixUp
from utils.training.precision import Precision
from utils.training.state import Listeners, TrainPlan, TrainState

CPU = torch.device("cpu")


class Normalise:
    def apply(self, clips: Tensor, params: dict[str, Tensor] | None) -> Tensor:
        return clips.flatten(0, 1).float() / 255


class Mean(nn.Module):
    """Two classes from a clip's mean value."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(clips.mean(dim=(1, 2, 3, 4))[:, None])


def batch(*values: int, labels: list[int], faults: list[str] | None = None, views: int = 1, first: int = 0) -> Batch:
    """One flat grey clip per value; `views` of them in a row belong to one video."""
    clips = torch.tensor(values, dtype=torch.uint8).reshape(-1, views, 1, 1, 1, 1).expand(-1, -1, 3, 2, 4, 4)
    indices = torch.arange(first, first + len(labels))
    return Batch(clips, torch.tensor(labels), indices, {}, faults or [""] * len(labels))


def run(
    batches: list[Batch], plan: TrainPlan, model: nn.Module | None = None
) -> tuple[TrainState, list[tuple[str, int]]]:
    state = TrainState.fresh(plan.print_freq)
    state.step = len(plan.learning_rates) - len(batches) // plan.accumulate
    calls: list[tuple[str, int]] = []
    model = model or Mean()

    def note(what: str) -> None:
        calls.append((what, state.step - 1))

    def validate() -> bool:
        note("validate")
        return state.note_best(50.0)

    listeners = Listeners(
        printed=lambda values: note("print"),
        validate=validate,
        save=lambda best: note("save best" if best else "save"),
        fault=lambda text: note(text),
        stop=lambda: False,
    )
    train(
        model,
        batches,
        criterion=LabelSmoothCrossEntropy(),
        optimizer=torch.optim.SGD([{"params": list(model.parameters()), "lr_mult": 1.0}], lr=0.1),
        augment=Normalise(),
        mix_up=MixUp(0, 0),
        precision=Precision("off", CPU),
        device=CPU,
        plan=plan,
        state=state,
        listeners=listeners,
    )
    return state, calls


def plan(steps: int, *, val_freq: int = 4, budget: int = 0, bad_losses: int = 0, accumulate: int = 1) -> TrainPlan:
    return TrainPlan(np.full(steps, 0.1), 2, val_freq, 3, budget, bad_losses, None, 0, accumulate)


def test_validation_runs_at_multiples_and_not_again_close_to_the_end() -> None:
    _, calls = run([batch(0, 255, labels=[0, 1])] * 10, plan(10))
    assert [step for what, step in calls if what == "validate"] == [4, 8]
    assert [step for what, step in calls if what == "print"] == [0, 2, 4, 6, 8, 9]
    assert [call for call in calls if call[0].startswith("save")] == [
        ("save", 2), ("save best", 4), ("save", 5), ("save", 8), ("save", 9),
    ]  # fmt: skip


def test_max_iter_15010_validates_at_15000_and_15000_would_validate_its_last_steps() -> None:
    """The seed's trick: 15000 is a multiple of 250 and only reached because the run is longer."""
    for total, expected in ((15010, [15000]), (15000, [14999])):
        steps = [batch(0, labels=[0])] * (total - 14990)
        state, calls = run_from(14990, steps, plan(total, val_freq=250), last_validation=14751)
        assert [step for what, step in calls if what == "validate"] == expected
        assert state.step == total


def run_from(
    start: int, batches: list[Batch], wanted: TrainPlan, last_validation: int
) -> tuple[TrainState, list[tuple[str, int]]]:
    before = TrainState.fresh

    def fresh(print_freq: int) -> TrainState:
        state = before(print_freq)
        state.last_validation = last_validation
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainState, "fresh", staticmethod(fresh))
        return run(batches, wanted)


def test_accumulated_batches_are_one_step_of_the_larger_batch() -> None:
    one, other = Mean(), Mean()
    other.load_state_dict(one.state_dict())
    run([batch(10, 200, 90, 30, labels=[0, 1, 1, 0])], plan(1), one)
    run([batch(10, 200, labels=[0, 1]), batch(90, 30, labels=[1, 0])], plan(1, accumulate=2), other)
    torch.testing.assert_close(one.head.weight, other.head.weight)


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
    state, calls = run([bad, good, bad], plan(3, bad_losses=2), one)
    run([good], plan(1), other)
    torch.testing.assert_close(one.state_dict(), other.state_dict())
    assert calls.count(("step 0: the loss is nan; videos of the batch: 7, 8", -1)) == 1
    assert state.bad_losses == 2 and np.isfinite(state.meters["loss"].mean)


def test_more_skipped_steps_than_the_budget_end_the_run() -> None:
    with pytest.raises(
        UserError, match=r"step 2: .* videos of the batch: 0, 1. That is 2 step\(s\), bad_loss_budget is 1"
    ):
        run([batch(0, 255, labels=[0, 1])] * 3, plan(4, bad_losses=1), Sore())


def _left_out(rank: int) -> list[str]:
    faults = ["", f"list:{rank + 1}: broken"] if rank else []
    _, calls = run([batch(10, 200, labels=[0, 1], faults=faults)] * 2, plan(2, budget=9))
    return [what for what, _ in calls if "broken" in what]


@pytest.mark.gloo
def test_the_first_process_tells_what_another_one_left_out() -> None:
    told = run_ranks(2, _left_out)
    assert told[0] == ["list:2: broken"] * 2


def test_an_unreadable_clip_does_not_move_the_weights() -> None:
    one, other = Mean(), Mean()
    other.load_state_dict(one.state_dict())
    good = batch(10, 200, labels=[0, 1])
    bad = batch(10, 200, 0, labels=[0, 1, 0], faults=["", "", "list:3: broken"])
    state, calls = run([bad], plan(1, budget=1), one)
    run([good], plan(1), other)
    torch.testing.assert_close(one.head.weight, other.head.weight, rtol=0, atol=0)
    assert state.bad_videos == 1 and ("list:3: broken", 0) in calls


def test_a_perfect_score_has_loss_zero_and_not_minus_zero() -> None:
    one_class = Mean()
    one_class.head = torch.nn.Linear(one_class.head.in_features, 1)
    scores = evaluate(
        one_class,
        [batch(1, labels=[0])],
        augment=Normalise(),
        precision=Precision("off", CPU),
        device=CPU,
        num_videos=1,
        average="scores",
    )
    assert str(scores.loss) == "0.0"


def test_beyond_the_budget_the_run_ends_before_it_learns_from_the_batch() -> None:
    model = Mean()
    before = model.head.weight.clone()
    with pytest.raises(FrameError, match=r"step 0: 1 unreadable video\(s\), bad_frame_budget is 0: list:3: broken"):
        run([batch(1, labels=[0], faults=["list:3: broken"])], plan(1), model)
    assert torch.equal(model.head.weight, before)


@pytest.mark.parametrize("average", ["scores", "logits"])
def test_views_of_a_video_are_averaged_as_asked(average: str) -> None:
    model = Mean()
    values = [0, 255, 30, 60]
    scores = evaluate(
        model,
        [batch(*values, labels=[0, 1], views=2)],
        augment=Normalise(),
        precision=Precision("off", CPU),
        device=CPU,
        num_videos=2,
        average=average,
    )
    logits = model(Normalise().apply(batch(*values, labels=[0] * 4).clips, None)).reshape(2, 2, 2)
    expected = logits.softmax(-1).mean(1) if average == "scores" else logits.mean(1).softmax(-1)
    np.testing.assert_allclose(scores.scores, expected.detach().numpy(), rtol=1e-6)
    assert scores.loss == pytest.approx(-np.log(scores.scores[[0, 1], [0, 1]]).mean(), rel=1e-6)


def test_evaluation_refuses_to_lose_or_repeat_a_video() -> None:
    arguments = {"augment": Normalise(), "precision": Precision("off", CPU), "device": CPU, "average": "scores"}
    once = batch(1, 2, labels=[0, 1])
    with pytest.raises(AssertionError, match="exactly once"):
        evaluate(Mean(), [once], num_videos=3, **arguments)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="exactly once"):
        evaluate(Mean(), [once, once], num_videos=2, **arguments)  # type: ignore[arg-type]


def test_videos_without_a_label_are_scored_and_not_counted() -> None:
    scores = evaluate(
        Mean(),
        [batch(1, 2, labels=[-1, 1])],
        augment=Normalise(),
        precision=Precision("off", CPU),
        device=CPU,
        num_videos=2,
        average="scores",
    )
    assert len(scores.scores) == 2 and scores.labelled.tolist() == [False, True] and np.isfinite(scores.loss)


def test_each_view_is_also_counted_by_itself_as_clip_accuracy() -> None:
    model = Mean()
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))  # dark clips are class 0
        model.head.bias.copy_(torch.tensor([0.5, -0.5]))
    scores = evaluate(
        model,
        [batch(0, 10, 200, 255, 0, 255, labels=[0, -1, 1], views=2)],
        augment=Normalise(),
        precision=Precision("off", CPU),
        device=CPU,
        num_videos=3,
        average="scores",
    )
    assert scores.num_views == 2 and scores.view_hits.tolist() == [[2, 2], [0, 0], [1, 2]]
