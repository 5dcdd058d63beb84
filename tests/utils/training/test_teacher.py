"""What a teacher adds to the loss, against numbers that are computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.grey import ALONE, CPU, GreyList, Mean, batch, config
from utils.config.sections import Teacher as Settings
from utils.training.mixup import Mix
from utils.training.precision import Precision
from utils.training.teacher import KeptTeacher, NetworkTeacher, Teacher
from utils.training.trainer import Trainer

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])


def settings(**keys: Any) -> Settings:
    return Settings(scores="exps/teacher", **keys)


def kept(logits: Tensor = LOGITS, **keys: Any) -> KeptTeacher:
    return KeptTeacher(logits, settings(**keys), {})


def divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.sum(one * np.log(one / other), axis=-1)


@pytest.mark.parametrize("kind", ["kl", "symmetric"])
def test_the_loss_is_the_divergence_times_weight_and_squared_temperature(kind: str) -> None:
    said = torch.tensor([[0.3, 0.1, -2.0], [1.0, 1.0, 1.0]])
    teacher = kept(weight=0.5, temperature=2.0, loss=kind)
    theirs = teacher.scores(torch.empty(0), torch.tensor([1, 0]), None)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (LOGITS[[1, 0]].numpy() / 2, said.numpy() / 2))
    np.testing.assert_allclose(theirs.numpy(), p, rtol=1e-6)
    wanted = divergence(p, q) if kind == "kl" else (divergence(p, q) + divergence(q, p)) / 2
    np.testing.assert_allclose(teacher.loss(said, theirs).numpy(), 0.5 * 4 * wanted, rtol=1e-5)
    assert teacher.loss(LOGITS[[1, 0]], theirs).abs().max() < 1e-6


def test_scores_that_are_certain_give_finite_gradients() -> None:
    said = torch.zeros(1, 3, requires_grad=True)
    for kind in ("kl", "symmetric"):
        teacher = kept(torch.tensor([[0.0, -200.0, -300.0]]), loss=kind)
        teacher.loss(said, teacher.scores(torch.empty(0), torch.tensor([0]), None)).sum().backward()
        assert said.grad is not None and said.grad.isfinite().all()


def test_kept_scores_are_mixed_as_the_clips_are_and_a_network_sees_mixed_clips() -> None:
    mix = Mix(0.25, torch.tensor([1, 0]))
    own = kept().scores(torch.empty(0), torch.tensor([0, 1]), None)
    found = kept().scores(torch.empty(0), torch.tensor([0, 1]), mix)
    torch.testing.assert_close(found, 0.25 * own + 0.75 * own.flip(0))
    network, clips = Mean(), mix.clips(torch.rand(2, 3, 1, 2, 2))
    teacher = NetworkTeacher(network, settings(), {})
    torch.testing.assert_close(teacher.scores(clips, torch.tensor([0, 1]), mix), network(clips).softmax(-1))
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_follows_labels_and_teacher(accumulate: int) -> None:
    def trained(teacher: Teacher | None) -> tuple[Tensor, float]:
        torch.manual_seed(0)
        common = config(steps=1, accumulate=accumulate)
        model, precision = Mean(), Precision("off", CPU)
        trainer = Trainer(model, common, GreyList(common, 4), rank=ALONE, precision=precision, teacher=teacher)
        batches = [batch(30, 200, labels=[0, 1]), batch(90, 255, labels=[1, 0], first=2)][:accumulate]
        assert len(list(trainer.steps(batches, until=lambda: False))) == 1
        return model.head.weight.detach().clone(), trainer.state.meters["loss"].mean

    class Same(Teacher):
        def scores(self, clips: Tensor, indices: Tensor, mix: Mix | None) -> Tensor:
            seen.append(indices.tolist())
            return torch.full((len(clips), 2), 0.5)

    seen: list[list[int]] = []
    (alone, before), (taught, after) = trained(None), trained(Same(settings(weight=50.0), {}))
    assert seen == [[0, 1], [2, 3]][:accumulate] and after > before
    assert taught.diff(dim=0).abs() < alone.diff(dim=0).abs()  # both classes alike, as the teacher says


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"teacher": {"weight": 2.0}}, "needs checkpoint or scores, which say who teaches"),
        ({"teacher": {"checkpoint": "a", "scores": "b"}}, "give either checkpoint or scores, not both"),
        ({"teacher": {"scores": "a"}, "multi_label": True}, "does not go with multi_label"),
        (
            {"teacher": {"checkpoint": "a"}, "data": {"feature_cache": "b"}},
            "needs clips, which",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**keys)
