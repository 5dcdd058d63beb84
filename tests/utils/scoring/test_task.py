"""One class or a set of them: both kinds keep the same promises, and what a set means is what its classes mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils.config.schema import Common
from utils.scoring.label_sets import LabelSets, label_sets, labels_from_text, labels_to_text, mirrored
from utils.scoring.losses import BinaryCrossEntropy
from utils.scoring.task import MULTI_LABEL, SINGLE_LABEL, Task, task_for, task_of
from utils.training.mixup import Mix

KINDS = pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL], ids=["one class", "sets"])
LOGITS = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
ROWS = label_sets([[0, 3], [], [6], [1, 2, 3], [5], [0]], 7)
HOT = np.stack([ROWS[index] for index in range(6)])


def common(**values: object) -> Common:
    raw = {"model": {"type": "tsn", "backbone": "resnet18", "num_class": 7}}
    return Common.model_validate(raw | {"lr_scheduler": {"base_lr": 0.1, "max_iter": 1}} | values)


def truth(task: Task, count: int = 6) -> np.ndarray:
    made = task.made_up(count, 7)
    return np.stack([made[index] for index in range(count)])


@KINDS
def test_logits_come_back_from_scores_up_to_what_the_scores_forget(task: Task) -> None:
    scores = task.probabilities(LOGITS)
    again = task.probabilities(torch.from_numpy(task.to_logits(scores.numpy())))
    torch.testing.assert_close(again, scores, atol=1e-6, rtol=1e-6)
    assert np.isfinite(task.to_logits(np.array([[0.0, 1.0]]))).all()


@KINDS
def test_the_loss_of_scores_is_the_training_loss_without_smoothing(task: Task) -> None:
    labels = truth(task)
    trained = task.criterion(common(), task.made_up(6, 7))(LOGITS, torch.from_numpy(labels))
    assert task.loss(task.probabilities(LOGITS).numpy(), labels) == pytest.approx(trained.mean().item(), rel=1e-5)


@KINDS
def test_hits_of_training_are_the_rates_of_an_evaluation(task: Task) -> None:
    labels = truth(task)
    hits = 100 * task.hits(LOGITS, torch.from_numpy(labels)).mean(1)
    numbers = task.measure(task.probabilities(LOGITS).numpy(), labels)
    one, five = (numbers[name] for name in task.train_numbers)
    assert (hits[0].item(), hits[1].item()) == (pytest.approx(one), pytest.approx(five))
    assert set(task.charted) <= task.val_numbers.keys() == numbers.keys()
    assert task.best(LOGITS, labels) == task.measure(LOGITS, labels)[next(iter(task.val_numbers))]


@KINDS
def test_targets_come_back_from_text_and_unknown_ones_are_told_apart(task: Task) -> None:
    labels = truth(task)
    labels[1] = -1
    texts = [task.text(row) for row in labels]
    np.testing.assert_array_equal(task.from_texts(texts, 7), labels)
    assert texts[1] == "-1" and task.known(labels).tolist() == [True, False, True, True, True, True]
    assert task_for(labels) is task


def test_the_empty_set_is_a_truth() -> None:
    assert MULTI_LABEL.text(HOT[1]) == "-" and MULTI_LABEL.known(HOT).all()
    assert (
        labels_to_text([3, 7, 12]) == "3;7;12"
        and labels_from_text("-") == []
        and labels_from_text("3;7;12") == [3, 7, 12]
    )
    assert task_of(common(multi_label=True)) is MULTI_LABEL and task_of(common()) is SINGLE_LABEL


def test_binary_cross_entropy_asks_each_class_and_smooths_between_two_answers() -> None:
    labels = torch.from_numpy(HOT)
    expected = F.binary_cross_entropy_with_logits(LOGITS, labels.float(), reduction="none").mean(1)
    torch.testing.assert_close(BinaryCrossEntropy()(LOGITS, labels), expected)
    other = F.binary_cross_entropy_with_logits(LOGITS, 1 - labels.float(), reduction="none").mean(1)
    torch.testing.assert_close(BinaryCrossEntropy(0.2)(LOGITS, labels), 0.9 * expected + 0.1 * other)
    assert BinaryCrossEntropy()(LOGITS.bfloat16(), labels).dtype == torch.float32


def test_class_weights_count_where_a_class_is_shown_and_balance_by_its_videos() -> None:
    labels, plain = torch.from_numpy(HOT), BinaryCrossEntropy()
    weights = torch.tensor([1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0])
    extra = BinaryCrossEntropy(0.0, weights)(LOGITS, labels) - plain(LOGITS, labels)
    torch.testing.assert_close(extra, 4 * labels[:, 3] * F.softplus(-LOGITS[:, 3]) / 7, atol=1e-6, rtol=1e-5)
    balanced = MULTI_LABEL.criterion(common(class_weights="balanced", multi_label=True), ROWS).class_weights
    counts = torch.from_numpy(HOT.sum(0))
    shown = counts > 0
    assert (balanced[~shown] == 0).all() and torch.allclose((balanced * counts)[shown], torch.tensor(8 / 6))


def test_mixed_loss_is_the_loss_of_the_mixed_sets() -> None:
    mix = Mix(0.3, torch.tensor([1, 2, 3, 4, 5, 0]))
    labels = torch.from_numpy(HOT)
    blended = 0.3 * labels.float() + 0.7 * labels[mix.permutation].float()
    criterion = BinaryCrossEntropy(0.1, torch.linspace(0.5, 2, 7))
    torch.testing.assert_close(mix.loss(criterion, LOGITS, labels), criterion(LOGITS, blended))


def test_a_mirrored_set_has_the_mirror_images_of_its_classes() -> None:
    table = np.array([1, 0, 2, 4, 3, 5, 6])
    expected = label_sets([[int(table[label]) for label in row] for row in ([0, 3], [], [1, 2, 3])], 7)
    for place, row in enumerate((0, 1, 3)):
        np.testing.assert_array_equal(mirrored(HOT[row], table), expected[place])
    assert (mirrored(np.int32(3), table), mirrored(np.int32(-1), table)) == (4, -1)


def test_sets_are_taken_for_any_order_of_videos() -> None:
    videos = np.array([3, 3, 1, 0])
    taken = ROWS.take(videos)
    assert isinstance(taken, LabelSets) and taken.sizes.tolist() == [3, 3, 0, 2]
    np.testing.assert_array_equal(np.stack([taken[index] for index in range(4)]), HOT[videos])
    assert [ROWS.video_of(place) for place in range(len(ROWS.flat))] == [0, 0, 2, 3, 3, 3, 4, 5]


def test_an_average_of_softmaxes_inside_the_network_is_refused() -> None:
    model = {"type": "slowfast", "backbone": "resnet50", "num_class": 7, "position_average": "scores"}
    with pytest.raises(ValueError, match="position_average: scores"):
        common(multi_label=True, model=model)
