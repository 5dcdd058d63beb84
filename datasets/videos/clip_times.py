"""Chooses the seconds of a video that a clip covers: PyTorchVideo's clip samplers as pure functions of the duration.

Nothing here keeps state between calls. video_dataset.py decides which frames are shown in these seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from utils.errors import ConfigError

Span = tuple[float, float]  # start and end in seconds
Sampler = Literal["random", "random_multi", "uniform", "constant_clips_per_video"]
SAMPLERS = get_args(Sampler)
Positive = Annotated[float, Field(gt=0)]
_SAME = Fraction(1, 1_000_000)  # seconds, as PyTorchVideo allows: fifteen clips of 0.2 s fit into 3.0 s


@dataclass(frozen=True)
class VideoSampling:
    """Says which seconds of an encoded video the samples show.

    sampler: how clips are taken.
        None: by clip.sampling, as from folders of frames, on the video's frames (at `fps`, if it is given).
        "random": a span of clip_seconds from anywhere.
        "random_multi": clips_per_video such spans in one training sample.
        "uniform": a span every `stride` seconds, each one a sample of its own.
        "constant_clips_per_video": spans spread evenly; the protocol's num_clips are the views of one sample in
            testing, clips_per_video are samples of their own in training.
        Testing takes "constant_clips_per_video" for both random ones, because a score must not change between runs.
    clip_seconds: length of a span; default: T x frame_stride frames at `fps`, or at the video's own rate.
    stride: seconds between the starts of uniform spans; default: one begins where the last one ends.
    fps: rate of the frames that are taken. With a sampler, those shown every frame_stride / fps seconds from the start
        of the span; without fps, T of the span's frames, evenly.
    clips_per_video: clips of each video in one epoch; where the rule lists its clips (torchvision), that many different
        ones, or all there are.
    near_key: seconds by which a training frame may move to the nearest key frame, which is decoded without another one,
        for rules that draw one frame from each of T parts of a video; it stays in its part. Testing never moves any.
    """

    sampler: Sampler | None = None
    clip_seconds: Positive | None = None
    stride: Positive | None = None
    fps: Positive | None = None
    clips_per_video: Annotated[int, Field(ge=1)] = 1
    near_key: Positive | None = None


def random_span(duration: float, clip: float, rng: np.random.Generator) -> Span:
    """Draws a span of `clip` seconds; in a shorter video the span runs past the end."""
    start = float(rng.uniform(0.0, max(duration - clip, 0.0)))
    return start, start + clip


def random_spans(duration: float, clip: float, count: int, rng: np.random.Generator) -> list[Span]:
    """Draws `count` independent random spans ("random_multi")."""
    return [random_span(duration, clip, rng) for _ in range(count)]


def uniform_spans(
    duration: float | Fraction, clip: float | Fraction, *, stride: float | Fraction | None = None, backpad: bool = False
) -> list[Span]:
    """Returns consecutive spans that start `stride` seconds apart; by default each starts where the one before ends.

    A tail that is shorter than a clip, by more than rounding, is left out; with `backpad` a last span covers it and
    ends with the video. A video shorter than a clip gives one span, which runs past the end. Fractions keep the times
    exact.

    Raises: ConfigError if `clip` or `stride` is not above 0.
    """
    length, start, last = Fraction(clip), None, False
    spans: list[Span] = []
    while not last:
        start, last = following_span(start, duration, clip, stride=stride, backpad=backpad)
        spans.append((float(start), float(start + length)))
    return spans


def following_span(
    start: Fraction | None,
    duration: float | Fraction,
    clip: float | Fraction,
    *,
    stride: float | Fraction | None = None,
    backpad: bool = False,
    same: float | Fraction = _SAME,
) -> tuple[Fraction, bool]:
    """Returns the start of the uniform span that follows the one from `start`, and whether it is the last one.

    start: None asks for the first span. same: seconds by which times may differ for rounding.

    Raises: ConfigError if `clip` or `stride` is not above 0.
    """
    step = Fraction(clip if stride is None else stride)
    if step <= 0 or clip <= 0:
        raise ConfigError("common.data.store: clip_seconds and stride must be above 0 seconds")
    length, total = Fraction(clip), Fraction(duration)

    def placed(place: Fraction) -> Fraction:
        return max(place - max(place + length - total, Fraction(0)), Fraction(0)) if backpad else place

    here = placed(Fraction(0) if start is None else start + step)
    following = placed(here + step)
    return here, abs(following - here) < same if backpad else following + length - total > same


def constant_spans(duration: float | Fraction, clip: float | Fraction, count: int) -> list[Span]:
    """Returns `count` spans spread evenly from the start to the end of the video."""
    last_start = max(Fraction(duration) - Fraction(clip), Fraction(0))
    step = last_start / max(count - 1, 1)
    return [(float(step * place), float(step * place + Fraction(clip))) for place in range(count)]
