"""PyTorchVideo's clip samplers and their protocol: its seconds, one clip after the other."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from datasets.labeled_videos import (
    ClipSampler,
    ConstantClipsPerVideoSampler,
    RandomClipSampler,
    RandomMultiClipSampler,
    RandomMultiClipSamplerTruncateFromStart,
    UniformClipSampler,
    UniformClipSamplerTruncateFromStart,
    make_clip_sampler,
)
from tests.datasets.sampling.test_published import golden
from tests.datasets.videos.test_clip_times import number
from utils.config.build import ArgumentError


def clips_of(sampler: ClipSampler, duration: Any) -> list[Any]:
    """Calls a sampler as a data set does."""
    clips: list[Any] = []
    while not clips or not clips[-1].is_last_clip:
        clips.append(sampler(clips[-1].clip_end_sec if clips else None, duration, {}))
    return clips


def test_samplers_give_pytorchvideos_clips() -> None:
    for case in golden("pytorchvideo", "uniform"):
        stride = None if case["stride"] is None else number(case["stride"])
        sampler = make_clip_sampler("uniform", number(case["clip_duration"]), stride, case["backpad_last"])
        for _ in range(2):  # the second video is like the first one
            clips = clips_of(sampler, number(case["video_duration"]))
            assert np.array([clip[:2] for clip in clips], float) == pytest.approx(np.array(case["clips"]), abs=1e-9), (
                case
            )
            assert [clip.clip_index for clip in clips] == [*range(len(clips))]
    for case in golden("pytorchvideo", "constant_clips_per_video"):
        sampler = make_clip_sampler(
            "constant_clips_per_video", number(case["clip_duration"]), case["clips_per_video"], case["augs_per_clip"],
        )  # fmt: skip
        for _ in range(2):
            clips = clips_of(sampler, number(case["video_duration"]))
            assert np.array([clip[:2] for clip in clips], float) == pytest.approx(np.array(case["clips"]), abs=1e-9)
            places = [(c, a) for c in range(case["clips_per_video"]) for a in range(case["augs_per_clip"])]
            assert [(clip.clip_index, clip.aug_index) for clip in clips] == places


def test_times_stay_exact_with_fractions() -> None:
    clips = clips_of(UniformClipSampler(Fraction(8, 30)), Fraction(24, 30))
    assert [clip.clip_start_sec for clip in clips] == [0, Fraction(8, 30), Fraction(16, 30)]


def test_random_clips_lie_in_the_video_and_follow_torchs_seed() -> None:
    def draw(seed: int) -> Any:
        torch.manual_seed(seed)
        return RandomClipSampler(2)(None, 10, {})

    clip = draw(1)
    assert 0 <= clip.clip_start_sec <= 8 and clip.clip_end_sec == clip.clip_start_sec + 2 and clip[2:] == (0, 0, True)
    assert draw(1) == clip != draw(2)
    several = RandomMultiClipSampler(2, 3)(None, 10, {})
    assert len(set(several.clip_start_sec)) == 3 and several[2:] == ([0] * 3, [0] * 3, [True] * 3)
    assert RandomClipSampler(2)(None, 1, {})[:2] == (0, 2), "a shorter video is passed by its end"


def test_truncated_samplers_see_the_beginning_only() -> None:
    assert len(clips_of(UniformClipSamplerTruncateFromStart(2, truncation_duration=5), 10)) == 2
    assert len(clips_of(UniformClipSamplerTruncateFromStart(2), 10)) == 5
    starts = RandomMultiClipSamplerTruncateFromStart(2, 50, 3)(None, 10, {}).clip_start_sec
    assert 0.5 < max(starts) <= 1
    assert max(RandomMultiClipSamplerTruncateFromStart(2, 50)(None, 10, {}).clip_start_sec) > 3


def test_a_reset_begins_another_video() -> None:
    sampler = ConstantClipsPerVideoSampler(1, 3, 2)
    sampler(None, 9, {})
    sampler.reset()
    assert sampler(None, 9, {})[2:4] == (0, 0)


def test_what_is_wrong_is_named() -> None:
    for arguments, message in (
        (("randm", 2), "'randm' is unknown; did you mean `random`"),
        (("random",), "clip_duration: random needs it"),
        (("random", 2, 3), "random takes clip_duration; 2 values are given"),
        (("uniform", 0), r"clip_duration: 0\.0 must be above 0 seconds"),
        (("uniform", 1, None, False, -1.0), "eps: should be greater than or equal to 0"),
        (("uniform", 1, -1), r"stride: -1\.0 must be above 0 seconds"),
        (("constant_clips_per_video", 2, "x"), "clips_per_video: should be a valid integer"),
    ):
        with pytest.raises(ArgumentError, match=message):
            make_clip_sampler(*arguments)
    for kind, arguments in (
        (UniformClipSamplerTruncateFromStart, {}),
        (RandomMultiClipSamplerTruncateFromStart, {"num_clips": 2}),
    ):
        with pytest.raises(ArgumentError, match=r"^truncation_duration: -1(\.0)? must be above 0 seconds"):
            kind(2, truncation_duration=-1, **arguments)
