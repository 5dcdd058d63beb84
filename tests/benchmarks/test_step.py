from __future__ import annotations

import pytest
import torch

from benchmarks import step
from benchmarks.step import as_published
from methods.tsm import TSM


def test_the_published_shift_that_ours_is_timed_against_computes_the_same() -> None:
    torch.manual_seed(0)
    model = TSM(backbone="resnet18", num_class=3, num_segments=4).eval()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        ours = model(clips)
        torch.testing.assert_close(as_published(model)(clips), ours, rtol=1e-5, atol=1e-6)


@pytest.mark.whole
def test_a_modules_row_compares_its_time_with_its_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "MODULES_BACKBONE", "resnet18")
    monkeypatch.setattr(step, "timed", lambda one, device, clock: 3.0 if "temporal" in str(one.model) else 2.0)
    row = step.measure_module("mvf", torch.device("cpu"), quick=True, train=False, rounds=3)
    assert row == ["mvf", "eval", "0.3", "1.50", "1.00", "1.50"] and len(row) == len(step.MODULES_HEAD)
