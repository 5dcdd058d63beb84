from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.grey import CPU, GreyList, Mean, Normalise, batch, config
from utils.scoring.evaluation import Evaluation
from utils.training.batch import Batch
from utils.training.evaluate import evaluate
from utils.training.precision import Precision


def scored(model: torch.nn.Module, batches: list[Batch], *, videos: int, average: str = "scores") -> Evaluation:
    listed = GreyList(config(), videos, average)
    return evaluate(model, listed, batches, precision=Precision("off", CPU), device=CPU, name="a test")


def test_a_perfect_score_has_loss_zero_and_not_minus_zero() -> None:
    one_class = Mean()
    one_class.head = torch.nn.Linear(one_class.head.in_features, 1)
    assert str(scored(one_class, [batch(1, labels=[0])], videos=1).loss) == "0.0"


@pytest.mark.parametrize("average", ["scores", "logits"])
def test_views_of_a_video_are_averaged_as_asked(average: str) -> None:
    model = Mean()
    values = [0, 255, 30, 60]
    found = scored(model, [batch(*values, labels=[0, 1], views=2)], videos=2, average=average)
    logits = model(Normalise().apply(batch(*values, labels=[0] * 4).clips, None)).reshape(2, 2, 2)
    expected = logits.softmax(-1).mean(1) if average == "scores" else logits.mean(1).softmax(-1)
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, expected.detach().numpy(), rtol=1e-6)
    assert found.loss == pytest.approx(-np.log(found.scores[[0, 1], [0, 1]]).mean(), rel=1e-6)


def test_evaluation_refuses_to_lose_or_repeat_a_video() -> None:
    once = batch(1, 2, labels=[0, 1])
    with pytest.raises(AssertionError, match="exactly once"):
        scored(Mean(), [once], videos=3)
    with pytest.raises(AssertionError, match="exactly once"):
        scored(Mean(), [once, once], videos=2)


def test_videos_without_a_label_are_scored_and_not_counted() -> None:
    found = scored(Mean(), [batch(1, 2, labels=[-1, 1])], videos=2)
    assert len(found) == 2 and found.labelled.tolist() == [False, True] and np.isfinite(found.loss)
    assert found.protocol == "scores averaged, 2 videos, 1 with a label"


def test_rows_come_in_the_order_of_the_list_whatever_the_order_of_batches() -> None:
    found = scored(Mean(), [batch(9, labels=[1], first=1), batch(200, labels=[0], first=0)], videos=2)
    assert found.paths == ["0", "1"] and found.labels.tolist() == [0, 1]


def test_each_view_is_also_counted_by_itself_as_clip_accuracy() -> None:
    model = Mean()
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))  # dark clips are class 0
        model.head.bias.copy_(torch.tensor([0.5, -0.5]))
    found = scored(model, [batch(0, 10, 200, 255, 0, 255, labels=[0, -1, 1], views=2)], videos=3)
    assert found.view_numbers == {"clip_acc1": 75.0, "clip_acc5": 100.0}  # 3 of 4 views: the unknown one is left out
