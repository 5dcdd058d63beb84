from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.training.mixup import Mix, MixUp

CLIPS = torch.randn(6, 3, 4, 16, 20, generator=torch.Generator().manual_seed(0))
CLIPS_LAST = CLIPS.to(memory_format=torch.channels_last_3d)


def test_mixup_blends_each_clip_with_its_partner_and_keeps_the_layout() -> None:
    mix = MixUp(0.2).draw(np.random.default_rng([0, 5, 1]), 6, 16, 20)
    assert mix is not None and mix.box is None and 0 <= mix.lam <= 1
    expected = mix.lam * CLIPS + (1 - mix.lam) * CLIPS[mix.permutation]
    for clips in (CLIPS, CLIPS_LAST):
        before = clips.clone()
        mixed = mix.clips(clips)
        torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)
        assert mixed.stride() == clips.stride() and torch.equal(clips, before)


def test_cutmix_takes_one_rectangle_of_all_frames_and_lam_is_what_is_left() -> None:
    for seed in range(50):
        mix = MixUp(cutmix_alpha=1.0).draw(np.random.default_rng(seed), 6, 16, 20)
        assert mix is not None and mix.box is not None
        top, left, height, width = mix.box
        assert 0 <= top <= top + height <= 16 and 0 <= left <= left + width <= 20
        mixed = mix.clips(CLIPS_LAST)
        inside = torch.zeros(16, 20, dtype=torch.bool)
        inside[top : top + height, left : left + width] = True
        assert torch.equal(mixed, torch.where(inside, CLIPS[mix.permutation], CLIPS))
        assert mix.lam == pytest.approx(1 - inside.double().mean().item())
        assert mixed.stride() == CLIPS_LAST.stride()


def test_the_permutation_is_one_and_the_generator_alone_decides() -> None:
    first, again, other = (MixUp(0.2).draw(np.random.default_rng([0, step, 0]), 32, 8, 8) for step in (7, 7, 8))
    assert first is not None and again is not None and other is not None
    assert sorted(first.permutation.tolist()) == list(range(32))
    assert first.lam == again.lam and torch.equal(first.permutation, again.permutation)
    assert first.lam != other.lam and not torch.equal(first.permutation, other.permutation)


def test_lam_follows_the_beta_distribution() -> None:
    lams = np.array([MixUp(0.2).draw(np.random.default_rng(i), 2, 8, 8).lam for i in range(3000)])  # type: ignore[union-attr]
    assert lams.mean() == pytest.approx(0.5, abs=0.03)
    assert lams.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.01)


def test_alphas_of_zero_are_off() -> None:
    assert not MixUp(0.0, 0.0)
    assert MixUp().draw(np.random.default_rng(0), 4, 8, 8) is None


def test_with_both_on_each_batch_takes_one_of_them() -> None:
    cuts = [MixUp(0.2, 1.0).draw(np.random.default_rng(i), 4, 8, 8).box is not None for i in range(400)]  # type: ignore[union-attr]
    assert np.mean(cuts) == pytest.approx(0.5, abs=0.1)
    assert MixUp(0.2, 1.0)


def test_the_loss_and_the_accuracy_are_mixed_as_the_clips_are() -> None:
    logits = torch.randn(6, 5, requires_grad=True)
    labels, mix = torch.arange(6) % 5, Mix(0.3, torch.tensor([3, 4, 5, 0, 1, 2]))
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = 0.3 * criterion(logits, labels) + 0.7 * criterion(logits, labels[mix.permutation])
    torch.testing.assert_close(mix.loss(criterion, logits, labels), expected)
    mix.loss(criterion, logits, labels).backward()
    assert logits.grad is not None
    assert torch.equal(mix.partners(labels), labels[[3, 4, 5, 0, 1, 2]])
    assert mix.average(80.0, 20.0) == pytest.approx(38.0)
