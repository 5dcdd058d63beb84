"""Mix-up and cut-mix of a batch under PyTorchVideo's names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datasets.clip_transforms import CutMix, MixUp, MixVideo
from datasets.clip_transforms.functional import convert_to_one_hot
from utils.config.build import ArgumentError

BATCH = torch.stack([torch.zeros(3, 2, 10, 12), torch.ones(3, 2, 10, 12)])  # B, C, T, H, W
LABELS = torch.tensor([0, 3])


@pytest.mark.parametrize("kind", [MixUp, CutMix, MixVideo])
@pytest.mark.parametrize("images", [False, True])
def test_labels_are_mixed_as_the_pixels_are(kind: Any, images: bool) -> None:
    torch.manual_seed(0)
    batch = BATCH[:, :, 0] if images else BATCH
    for _ in range(8):
        mixed, labels = kind(num_classes=5)(batch, LABELS)
        share = mixed.flatten(1).mean(1)  # of the clip of ones
        torch.testing.assert_close(labels[:, 3], share)
        torch.testing.assert_close(labels[:, 0], 1 - share)
    assert BATCH[0].max() == 0, "the batch is not changed"


def test_cut_mix_replaces_a_rectangle_and_mix_up_blends_all() -> None:
    torch.manual_seed(0)
    cut = [CutMix(num_classes=5)(BATCH, LABELS)[0] for _ in range(8)]
    assert all(set(one.unique().tolist()) <= {0.0, 1.0} for one in cut) and any(one[0].max() == 1 for one in cut)
    blended = MixUp(num_classes=5)(BATCH, LABELS)[0]
    assert all(len(one.unique()) == 1 for one in blended) and 0 < blended[0].max() < 1


def test_the_probability_of_cut_mix_chooses() -> None:
    for probability, values in ((1.0, True), (0.0, False)):
        torch.manual_seed(1)
        mixed, _ = MixVideo(cutmix_prob=probability, num_classes=5)(BATCH, LABELS)
        assert (set(mixed.unique().tolist()) <= {0.0, 1.0}) == values


def test_sound_is_mixed_with_the_same_share() -> None:
    sound = torch.stack([torch.zeros(1, 5, 6), torch.ones(1, 5, 6)])
    torch.manual_seed(0)
    _, mixed, labels = MixUp(num_classes=5)(BATCH, LABELS, x_audio=sound)
    torch.testing.assert_close(mixed.flatten(1).mean(1), labels[:, 3])
    _, cut, _ = CutMix(num_classes=5)(BATCH, LABELS, x_audio=sound)
    assert set(cut.unique().tolist()) <= {0.0, 1.0} and cut.shape == sound.shape


def test_smoothed_labels_are_spread_over_all_classes() -> None:
    torch.manual_seed(0)
    _, labels = MixUp(label_smoothing=0.2, num_classes=5)(BATCH, LABELS)
    torch.testing.assert_close(labels.sum(1), torch.ones(2))
    assert 0.2 / 5 in labels.unique()
    rows = torch.eye(5)[LABELS]
    _, ready = MixUp(label_smoothing=0.2, num_classes=5, one_hot=True)(BATCH, rows)
    assert ready[0, 1] == 0
    assert convert_to_one_hot(LABELS, 4).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(convert_to_one_hot(LABELS, 4, 0.2)[0], torch.tensor([0.85, 0.05, 0.05, 0.05]))


def test_what_cannot_be_mixed_is_named() -> None:
    with pytest.raises(ArgumentError, match="a single clip has none to be mixed with"):
        MixUp()(BATCH[:1], LABELS[:1])
    with pytest.raises(ArgumentError, match=r"labels \[0, 3\] must be from 0 to 2"):
        CutMix(num_classes=3)(BATCH, LABELS)
    with pytest.raises(ArgumentError, match="cutmix_prob: should be less than or equal to 1"):
        MixVideo(cutmix_prob=2.0)
