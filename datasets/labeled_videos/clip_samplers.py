"""Chooses the seconds of a video that its clips cover, by PyTorchVideo's clip samplers and their protocol.

A sampler is called with the end of the clip before (None for the first clip), the length of the video and the video's
entries, until it says that a clip is the last one. The times come from videos/clip_times.py; what is random is drawn
from torch's generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic import NonNegativeFloat, PositiveInt

from datasets.sampling.draws import from_torch
from datasets.videos.clip_times import SAMPLERS, constant_spans, following_span, random_span
from utils.config.build import ArgumentError, call, check_name, checked, parameters_of

Seconds = float | Fraction
Entries = Mapping[str, Any]


class ClipInfo(NamedTuple):
    """Says which seconds a clip covers, and which clip of its video and which repetition of that clip it is."""

    clip_start_sec: Seconds
    clip_end_sec: Seconds
    clip_index: int
    aug_index: int
    is_last_clip: bool


class ClipInfoList(NamedTuple):
    """Says the same as ClipInfo of several clips that make up one sample; each field is a list."""

    clip_start_sec: list[Seconds]
    clip_end_sec: list[Seconds]
    clip_index: list[int]
    aug_index: list[int]
    is_last_clip: list[bool]


class ClipSampler(ABC):
    """Chooses the clips of one video after the other; a class of one's own needs `__call__`.

    clip_duration: seconds of a clip. A Fraction keeps the times of UniformClipSampler exact; others round them.
    """

    @checked
    def __init__(self, clip_duration: Seconds) -> None:
        _check_seconds(clip_duration=clip_duration)
        self._clip_duration = Fraction(clip_duration)
        self._current_clip_index = 0
        self._current_aug_index = 0

    @abstractmethod
    def __call__(
        self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries
    ) -> ClipInfo | ClipInfoList:
        """Returns the clip that follows the one with this end."""

    def reset(self) -> None:
        """Forgets the video, so that the next call begins another one."""
        self._current_clip_index = self._current_aug_index = 0


class UniformClipSampler(ClipSampler):
    """Goes through the whole video, a clip every `stride` seconds; by default each begins where the last one ends.

    backpad_last: whether a last clip, which ends with the video, covers a rest that is shorter than a clip. eps:
        seconds by which times may differ for rounding.
    """

    @checked
    def __init__(
        self,
        clip_duration: Seconds,
        stride: Seconds | None = None,
        backpad_last: bool = False,
        eps: NonNegativeFloat = 1e-6,
    ) -> None:
        super().__init__(clip_duration)
        if stride is not None:
            _check_seconds(stride=stride)
        self._stride, self._backpad_last, self._eps = stride, backpad_last, eps

    def __call__(self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries) -> ClipInfo:
        """Returns the clip that follows the one with this end; it is the last one if no other fits."""
        before = None if last_clip_end_time is None else Fraction(last_clip_end_time) - self._clip_duration
        start, last = following_span(
            before,
            video_duration,
            self._clip_duration,
            stride=self._stride,
            backpad=self._backpad_last,
            same=self._eps,
        )
        index = self._current_clip_index
        self._current_clip_index = 0 if last else index + 1
        return ClipInfo(start, start + self._clip_duration, index, 0, last)


class UniformClipSamplerTruncateFromStart(UniformClipSampler):
    """Goes through the first `truncation_duration` seconds of the video; None for all of them."""

    @checked
    def __init__(
        self,
        clip_duration: Seconds,
        stride: Seconds | None = None,
        backpad_last: bool = False,
        eps: NonNegativeFloat = 1e-6,
        truncation_duration: Seconds | None = None,
    ) -> None:
        super().__init__(clip_duration, stride, backpad_last, eps)
        if truncation_duration is not None:
            _check_seconds(truncation_duration=truncation_duration)
        self.truncation_duration = truncation_duration

    def __call__(self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries) -> ClipInfo:
        """Returns the clip that follows the one with this end."""
        return super().__call__(last_clip_end_time, _cut(video_duration, self.truncation_duration), annotation)


class RandomClipSampler(ClipSampler):
    """Takes one clip from anywhere in the video."""

    def __call__(self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries) -> ClipInfo:
        """Draws the only clip."""
        start = Fraction(random_span(float(video_duration), float(self._clip_duration), from_torch())[0])
        return ClipInfo(start, start + self._clip_duration, 0, 0, True)


class RandomMultiClipSampler(ClipSampler):
    """Puts `num_clips` clips from anywhere in the video into one sample."""

    @checked
    def __init__(self, clip_duration: Seconds, num_clips: PositiveInt) -> None:
        super().__init__(clip_duration)
        self._num_clips = num_clips
        self._one = RandomClipSampler(clip_duration)

    def __call__(
        self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries
    ) -> ClipInfoList:
        """Draws all clips."""
        clips = [self._one(last_clip_end_time, video_duration, annotation) for _ in range(self._num_clips)]
        return ClipInfoList(*map(list, zip(*clips, strict=True)))


class RandomMultiClipSamplerTruncateFromStart(RandomMultiClipSampler):
    """Puts `num_clips` clips from the first `truncation_duration` seconds into one sample; None for all seconds."""

    @checked
    def __init__(
        self, clip_duration: Seconds, num_clips: PositiveInt, truncation_duration: Seconds | None = None
    ) -> None:
        super().__init__(clip_duration, num_clips)
        if truncation_duration is not None:
            _check_seconds(truncation_duration=truncation_duration)
        self.truncation_duration = truncation_duration

    def __call__(
        self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries
    ) -> ClipInfoList:
        """Draws all clips."""
        return super().__call__(last_clip_end_time, _cut(video_duration, self.truncation_duration), annotation)


class ConstantClipsPerVideoSampler(ClipSampler):
    """Spreads `clips_per_video` clips evenly over the video, each of them `augs_per_clip` times."""

    @checked
    def __init__(self, clip_duration: Seconds, clips_per_video: PositiveInt, augs_per_clip: PositiveInt = 1) -> None:
        super().__init__(clip_duration)
        self._clips_per_video, self._augs_per_clip = clips_per_video, augs_per_clip

    def __call__(self, last_clip_end_time: Seconds | None, video_duration: Seconds, annotation: Entries) -> ClipInfo:
        """Returns the next repetition, or the next clip."""
        clip, repetition = self._current_clip_index, self._current_aug_index
        spans = constant_spans(video_duration, self._clip_duration, self._clips_per_video)
        start = Fraction(spans[clip][0])
        done = clip * self._augs_per_clip + repetition + 1
        self._current_clip_index, self._current_aug_index = divmod(done, self._augs_per_clip)
        last = self._current_clip_index >= self._clips_per_video
        if last:
            self.reset()
        return ClipInfo(start, start + self._clip_duration, clip, repetition, last)


_KINDS: dict[str, Callable[..., ClipSampler]] = dict(
    zip(
        SAMPLERS,
        (RandomClipSampler, RandomMultiClipSampler, UniformClipSampler, ConstantClipsPerVideoSampler),
        strict=True,
    )
)


def make_clip_sampler(sampling_type: str, *args: Any) -> ClipSampler:
    """Makes the clip sampler of that name; durations and strides are in seconds.

    "random", clip_duration: one clip from anywhere. "random_multi", clip_duration, num_clips: that many in one sample.
    "uniform", clip_duration[, stride, backpad_last, eps]: the whole video, clip after clip.
    "constant_clips_per_video", clip_duration, clips_per_video[, augs_per_clip]: spread evenly.

    Raises: ArgumentError for another name or wrong arguments.
    """
    check_name(_KINDS, sampling_type, where="make_clip_sampler")
    kind = _KINDS[sampling_type]
    names = [*parameters_of(kind)]
    if len(args) > len(names):
        raise ArgumentError(
            f"make_clip_sampler: {sampling_type} takes {', '.join(names)}; {len(args)} values are given"
        )
    return call(kind, dict(zip(names, args, strict=False)), sampling_type, "make_clip_sampler")


def _check_seconds(**seconds: Seconds) -> None:
    for name, value in seconds.items():
        if value <= 0:
            raise ArgumentError(f"{name}: {value} must be above 0 seconds")


def _cut(duration: Seconds, truncation: Seconds | None) -> Seconds:
    return duration if truncation is None else min(duration, truncation)
