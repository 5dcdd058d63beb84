"""What GSM and GSF compute by themselves in place of torch's own operations, and its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from networks.temporal.gate_shift import GSM, _answers, _Mix
from networks.temporal.module import Direction


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("shift", ["bi", "uni"])
@pytest.mark.parametrize("num_frames", [1, 3])
def test_what_gates_let_through_has_the_gradients_that_autograd_finds(
    weighed: bool, shift: Direction, num_frames: int
) -> None:
    module = GSM(4, num_frames=num_frames, shift=shift)
    shapes = [(2, num_frames, 4, 2, 3), (2, num_frames, 2, 2, 3), (2, num_frames, 4, 1, 1)]
    clips, gates, weights = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    given = (clips, gates, weights if weighed else None)
    with torch.enable_grad():
        assert torch.autograd.gradcheck(lambda *given: _Mix.apply(*given, (shift == "bi", False)), given)
    torch.testing.assert_close(_Mix.apply(*given, (shift == "bi", False)), module._mixed(*given))


def test_products_of_the_taps_are_the_convolution_of_the_gates() -> None:
    frames, weight = torch.randn(2, 8, 5, 6, requires_grad=True), torch.randn(6, 4, 3, 3, requires_grad=True)
    expected = F.conv2d(frames, weight, padding=1, groups=2)
    torch.testing.assert_close(_answers(frames, weight), expected, rtol=1e-5, atol=1e-5)
    with torch.enable_grad():
        torch.testing.assert_close(_answers(frames, weight), expected, rtol=1e-5, atol=1e-5)
