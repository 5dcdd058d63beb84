from __future__ import annotations

import pytest

from utils.run.profiling import busy_time


@pytest.mark.parametrize(
    ("busy", "total"),
    [
        ([], 0),
        ([(0, 10)], 10),
        ([(5, 10), (0, 5)], 10),
        ([(0, 4), (6, 10)], 8),
        ([(100, 110), (100, 101), (105, 108), (115, 120)], 15),
        ([(3, 3)], 0),
    ],
)
def test_a_gpu_works_while_anything_runs_on_it(busy: list[tuple[float, float]], total: float) -> None:
    assert busy_time(busy) == pytest.approx(total)
