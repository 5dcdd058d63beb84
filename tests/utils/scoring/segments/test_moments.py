"""The labels and the losses of whole videos are those that their papers define."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from utils.scoring.segments.moments import PointsLoss, StagesLoss, class_of_moments, spans_of_points
from utils.scoring.segments.reading import read_points

BACKGROUND, FILL = 3.0, [-1.0, -1.0, -1.0]
LABELS = torch.tensor(
    [
        [[0.0, 8.0, BACKGROUND], [1.0, 5.0, 0.0], [2.5, 4.0, 1.0]],
        [[0.0, 4.0, BACKGROUND], [-2.0, 9.0, 2.0], FILL],
    ]
)


def test_a_moment_has_the_class_of_the_shortest_span_that_covers_it_and_none_behind_the_end() -> None:
    assert class_of_moments(LABELS, 8).tolist() == [[3, 0, 0, 1, 0, 3, 3, 3], [2, 2, 2, 2, -1, -1, -1, -1]]


def test_the_loss_of_stages_is_cross_entropy_and_cut_squares_of_steps_added_up_over_the_stages() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 6, (1, 2, 8, 4))  # steps on both sides of the cut at 4
    expected = 0.0
    for stage in logits[0]:
        logs = stage - np.log(np.exp(stage).sum(1, keepdims=True))
        expected -= logs[np.arange(8), class_of_moments(LABELS, 8)[0].numpy()].mean()
        expected += 0.15 * np.minimum(np.diff(logs, axis=0) ** 2, 16).mean()
    loss = StagesLoss()(torch.tensor(logits), LABELS[:1])
    assert loss.tolist() == pytest.approx([expected], rel=1e-6)


def test_what_stands_behind_the_end_of_a_video_changes_no_loss() -> None:
    logits = torch.randn(2, 3, 8, 4)
    alone = StagesLoss()(logits[1:, :, :4], LABELS[1:])
    assert torch.equal(StagesLoss()(logits, LABELS)[1:], alone)


def test_no_gradient_of_the_smoothing_loss_goes_to_the_earlier_moment() -> None:
    labels = torch.tensor([[[0.0, 2.0, 1.0]]])
    logits = torch.tensor([[[[0.0, 50.0], [1.0, 51.0]]]], requires_grad=True)  # cross entropy is 0 to the last bit
    StagesLoss()(logits, labels).sum().backward()
    assert logits.grad is not None and logits.grad[0, 0, 0].abs().max() < 1e-6


def points_of(moments: int, *, levels: int, ends: tuple[float, float] = (0.0, 1.0)) -> torch.Tensor:
    rows = []
    for level in range(levels):
        stride = 2**level
        rows += [[0.0, 0.0, 0.0, *ends, place, stride] for place in range(0, moments, stride)]
    return torch.tensor([rows], dtype=torch.float32)


@pytest.mark.parametrize(
    ("span", "stride"), [((2.0, 5.0), {1.0}), ((5.0, 13.0), {2.0}), ((0.0, 28.0), {4.0}), ((0.0, 60.0), {4.0})]
)
def test_a_span_is_found_by_points_near_its_middle_on_the_level_that_fits_its_length(
    span: tuple[float, float], stride: set[float]
) -> None:
    points = points_of(64, levels=3)
    label, ends = spans_of_points(points, torch.tensor([[[0.0, 64.0, 3.0], [*span, 1.0]]]))
    found = points[0][label[0] == 1]
    assert {*found[:, -1].tolist()} == stride
    assert ((found[:, -2] - sum(span) / 2).abs() <= 1.5 * found[:, -1]).all()
    assert (ends[0][label[0] == 1] == torch.tensor(span)).all()


def test_of_two_spans_the_shorter_one_is_found_and_points_behind_the_end_find_nothing() -> None:
    points = points_of(16, levels=1)
    points[:, 8:, -2] = math.nan
    labels = torch.tensor([[[0.0, 8.0, 3.0], [0.0, 12.0, 0.0], [4.0, 6.0, 2.0]]])
    label, _ = spans_of_points(points, labels)
    assert label[0].tolist() == [-1, -1, -1, -1, 2, 2, 2, 0] + [-1] * 8


def test_the_loss_of_points_is_smallest_for_the_right_spans_and_classes() -> None:
    labels = torch.tensor([[[0.0, 16.0, 3.0], [4.0, 7.0, 2.0]]])
    right = points_of(16, levels=2, ends=(4.0, 7.0))
    right[..., :3] = -20.0
    label, _ = spans_of_points(right, labels)
    right[0, label[0] == 2, 2] = 20.0
    others = {"class": right.clone(), "ends": right.clone(), "nothing": right.clone()}
    others["class"][0, label[0] == 2, :2] = 20.0
    others["ends"][..., 4] += 1.0
    others["nothing"][..., :3] = -20.0
    assert PointsLoss()(right, labels).item() == pytest.approx(0.0, abs=1e-5)
    assert all(PointsLoss()(other, labels).item() > 0.1 for other in others.values())


def test_points_become_segments_of_which_repeats_are_weaker_and_scores_of_moments() -> None:
    rows = np.array([[0.9, 0.0, 2.0, 6.0], [0.8, 0.0, 2.0, 6.0], [0.0, 0.4, 5.0, 9.0], [0.005, 0.0, 0.0, 9.0]])
    scores, found = read_points(rows.astype(np.float32), np.arange(10.0), seconds_at=lambda places: places, num_class=2)
    assert found.score.round(3).tolist() == [0.9, round(0.8 * math.exp(-2), 3), 0.4]
    assert found.label.tolist() == [0, 0, 1] and found.start.tolist() == [2.0, 2.0, 5.0]
    assert scores.argmax(1).tolist() == [2, 2, 0, 0, 0, 0, 2, 2, 2, 2]
