from __future__ import annotations

import torch

from benchmarks.step import as_published
from methods.tsm import TSM


def test_the_published_shift_that_ours_is_timed_against_computes_the_same() -> None:
    torch.manual_seed(0)
    model = TSM(backbone="resnet18", num_class=3, num_segments=4).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        ours = model(clips)
        torch.testing.assert_close(as_published(model)(clips), ours, rtol=1e-5, atol=1e-6)
