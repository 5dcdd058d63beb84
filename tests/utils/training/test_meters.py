from __future__ import annotations

import math

from utils.training.meters import WindowMeter


def test_mean_covers_the_window_and_weighs() -> None:
    meter = WindowMeter(2)
    assert math.isnan(meter.mean) and math.isnan(meter.last)
    for value, weight in [(100.0, 1.0), (1.0, 1.0), (4.0, 3.0)]:
        meter.update(value, weight)
    assert meter.mean == (1.0 + 12.0) / 4 and meter.last == 4.0
    meter.update(9.0, weight=0.0)
    assert meter.last == 4.0


def test_state_survives_a_round_trip() -> None:
    meter, other = WindowMeter(3), WindowMeter(3)
    for value in range(5):
        meter.update(value)
    other.load_state_dict(meter.state_dict())
    assert other.mean == meter.mean == 3.0 and other.last == 4.0
