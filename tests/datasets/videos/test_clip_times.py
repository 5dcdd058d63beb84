"""Tests the samplers in seconds against the results of PyTorchVideo's (tests/golden/sampling)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from datasets.videos.clip_times import constant_spans, random_span, random_spans, uniform_spans
from tests.datasets.sampling.test_published import Replay, golden
from utils.errors import ConfigError


def number(value: Any) -> Any:
    return value["float"] if isinstance(value, dict) else Fraction(value)


def test_uniform_spans_are_those_of_pytorchvideo():
    for case in golden("pytorchvideo", "uniform"):
        got = uniform_spans(
            number(case["video_duration"]), number(case["clip_duration"]),
            stride=None if case["stride"] is None else number(case["stride"]), backpad=case["backpad_last"],
        )  # fmt: skip
        assert np.array(got) == pytest.approx(np.array(case["clips"]), abs=1e-9), case


def test_constant_spans_are_those_of_pytorchvideo():
    for case in golden("pytorchvideo", "constant_clips_per_video"):
        got = constant_spans(number(case["video_duration"]), number(case["clip_duration"]), case["clips_per_video"])
        repeated = [span for span in got for _ in range(case["augs_per_clip"])]
        assert np.array(repeated) == pytest.approx(np.array(case["clips"]), abs=1e-9), case


def test_random_spans_draw_from_the_same_range():
    for case in golden("pytorchvideo", "random_start_bounds"):
        high = case["uniform_high"]
        duration, clip = float(number(case["video_duration"])), float(number(case["clip_duration"]))
        call = {"kind": "uniform", "low": case["uniform_low"], "high": pytest.approx(high), "values": [high]}
        assert random_span(duration, clip, Replay([call])) == (high, high + clip)  # type: ignore[arg-type]


def test_random_multi_is_that_many_random_ones():
    one, many = np.random.default_rng(3), np.random.default_rng(3)
    assert [random_span(10, 2, one) for _ in range(4)] == random_spans(10, 2, 4, many)


def test_clips_that_fit_exactly_as_decimals_are_all_there():
    for clip in (tenths / 10 for tenths in range(1, 16)):
        for count in range(1, 16):
            duration = round(clip * count, 1)
            assert len(uniform_spans(duration, clip)) == count, (duration, clip)
            assert len(uniform_spans(duration, clip, backpad=True)) == count, (duration, clip)
            assert len(uniform_spans(duration - 1e-5, clip)) == max(count - 1, 1), (duration, clip)


def test_a_stride_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="above 0"):
        uniform_spans(10, 2, stride=0)
