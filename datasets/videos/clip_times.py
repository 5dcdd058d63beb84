"""Chooses the seconds of a video that a clip covers: PyTorchVideo's clip samplers as pure functions of the duration.

Nothing here keeps state between calls. video_dataset.py decides which frames are shown in these seconds.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from utils.errors import ConfigError

Span = tuple[float, float]  # start and end in seconds
SAMPLERS = ("random", "random_multi", "uniform", "constant_clips_per_video")
_SAME = 1e-9


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

    A tail that is shorter than a clip is left out; with `backpad` a last span covers it and ends with the video. A
    video shorter than a clip gives one span, which runs past the end. Fractions keep the times exact.

    Raises: ConfigError if `clip` or `stride` is not above 0.
    """
    step = Fraction(clip if stride is None else stride)
    if step <= 0 or clip <= 0:
        raise ConfigError("common.data.store: clip_seconds and stride must be above 0 seconds")
    length, total, start = Fraction(clip), Fraction(duration), Fraction(0)
    spans = [_moved_back(start, length, total) if backpad else start]
    while True:
        start = spans[-1] + step
        following = _moved_back(start, length, total) if backpad else start
        if following + length > total or (backpad and abs(following - spans[-1]) < _SAME):
            return [(float(start), float(start + length)) for start in spans]
        spans.append(following)


def constant_spans(duration: float | Fraction, clip: float | Fraction, count: int) -> list[Span]:
    """Returns `count` spans spread evenly from the start to the end of the video."""
    last_start = max(Fraction(duration) - Fraction(clip), Fraction(0))
    step = last_start / max(count - 1, 1)
    return [(float(step * place), float(step * place + Fraction(clip))) for place in range(count)]


def _moved_back(start: Fraction, length: Fraction, total: Fraction) -> Fraction:
    return max(start - max(start + length - total, Fraction(0)), Fraction(0))
