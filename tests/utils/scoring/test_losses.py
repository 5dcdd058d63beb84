from __future__ import annotations

import numpy as np
import torch

from utils.scoring.losses import LabelSmoothCrossEntropy, balanced_weights


def test_smoothing_mass_is_spread_over_the_classes_there_are() -> None:
    """Upstream divided by 1000 whatever num_class was, so its task did not sum to one."""
    logits = torch.randn(4, 152, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 5, 151, 7])
    target = torch.full((4, 152), 0.1 / 152)
    target[torch.arange(4), labels] += 0.9
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    expected = -(target * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(LabelSmoothCrossEntropy(0.1)(logits, labels), expected)


def test_loss_is_one_float32_value_per_clip() -> None:
    loss = LabelSmoothCrossEntropy()(torch.zeros(3, 8, dtype=torch.bfloat16), torch.tensor([0, 1, 2]))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.full((3,), torch.log(torch.tensor(8.0)).item()))


def test_balanced_weights_make_every_class_count_alike() -> None:
    counts = np.array([1, 3, 0])
    weights = balanced_weights(counts)
    torch.testing.assert_close(weights * torch.from_numpy(counts), torch.tensor([2.0, 2.0, 0.0]))


def test_class_weights_multiply_a_clips_loss() -> None:
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    plain, weighed = LabelSmoothCrossEntropy()(logits, labels), LabelSmoothCrossEntropy(0.0, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(weighed(logits, labels), plain * torch.tensor([1.0, 3.0]))
