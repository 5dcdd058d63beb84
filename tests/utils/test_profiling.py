from __future__ import annotations

import pytest

from utils.profiling import idle_share


@pytest.mark.parametrize(
    ("busy", "share"),
    [
        ([(0, 10)], 0),
        ([(5, 10), (0, 5)], 0),
        ([(0, 4), (6, 10)], 0.2),
        ([(100, 110), (100, 101), (105, 108), (115, 120)], 0.25),
        ([(3, 3)], 0),
    ],
)
def test_a_gpu_is_idle_where_nothing_runs_on_it(busy: list[tuple[float, float]], share: float) -> None:
    assert idle_share(busy) == pytest.approx(share)
