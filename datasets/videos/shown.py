"""Says which frames of a video its clips show: those that a rule takes, or those on the screen in a span of seconds.

Lists of videos, predictions and whatever else scores a video ask here, so that all of them see the same frames.
"""

from __future__ import annotations

import numpy as np

from datasets.sampling.published import temporal_subsample
from datasets.sampling.rules import get_rule, with_stacks
from datasets.videos.clip_times import Span, VideoSampling, constant_spans, uniform_spans
from datasets.videos.scan import VideoTimes
from utils.clip_spec import ClipSpec
from utils.errors import FrameError


def even_times(count: int, fps: float) -> VideoTimes:
    """Returns the times of `count` frames, `fps` per second: of a folder of frames, or of a part of a stream."""
    stamps = np.arange(count, dtype=np.int64)
    return VideoTimes(stamps, stamps[:1], 1 / fps, False)


def count_at_rate(times: VideoTimes, sampling: VideoSampling) -> int:
    """Returns the number of frames that a rule sees: the video's, or those that it would have at `sampling.fps`."""
    return len(times) if sampling.fps is None else max(1, round(times.duration * sampling.fps))


def span_seconds(times: VideoTimes, clip: ClipSpec, sampling: VideoSampling) -> float:
    """Returns the length of the spans that a sampler takes, in seconds."""
    if sampling.clip_seconds is not None:
        return sampling.clip_seconds
    rate = sampling.fps or (len(times) / times.duration if times.duration else 1.0)
    return clip.num_frames * clip.frame_stride / rate


def in_spans(times: VideoTimes, clip: ClipSpec, sampling: VideoSampling, spans: list[Span]) -> np.ndarray:
    """Returns the pictures of a clip in each span, int64 (spans, clip.num_pictures)."""
    if sampling.fps is not None:
        ticks = np.arange(clip.num_frames) * (clip.frame_stride / sampling.fps)
        indices = np.stack([shown_at(times, span[0] + ticks) for span in spans])
    else:
        every = [shown_during(times, span) for span in spans]
        indices = np.stack([shown[temporal_subsample(len(shown), clip.num_frames)] for shown in every])
    return with_stacks(indices, clip.length, len(times))


def of_rule(times: VideoTimes, sampling: VideoSampling, indices: np.ndarray) -> np.ndarray:
    """Returns the frames of the video for those that a rule has taken from `count_at_rate` frames, of any shape."""
    return indices if sampling.fps is None else shown_at(times, indices / sampling.fps)


def tested(times: VideoTimes, clip: ClipSpec, sampling: VideoSampling, num_clips: int) -> np.ndarray:
    """Returns the pictures of a video's test clips, int64 (clips, clip.num_pictures).

    There are `num_clips`, and with the sampler "uniform" as many as the video has spans. Raises: FrameError.
    """
    if sampling.sampler is None:
        return of_rule(times, sampling, get_rule(clip.sampling).pick(count_at_rate(times, sampling), clip, num_clips))
    seconds = span_seconds(times, clip, sampling)
    if sampling.sampler == "uniform":
        spans = uniform_spans(times.duration, seconds, stride=sampling.stride)
    else:
        spans = constant_spans(times.duration, seconds, num_clips)
    return in_spans(times, clip, sampling, spans)


def shown_at(times: VideoTimes, seconds: np.ndarray) -> np.ndarray:
    """Returns the frame that is on the screen at each time, the last one after the end: int64, shaped as `seconds`."""
    if not len(times):
        raise FrameError("the video has no frame")
    found = np.searchsorted(times.seconds, seconds + _early(times), side="right") - 1
    return np.clip(found, 0, len(times) - 1)


def shown_during(times: VideoTimes, span: Span) -> np.ndarray:
    """Returns the frames that appear from the start to before the end of a span, or the last one: int64 (n,), n > 0."""
    first, last = np.searchsorted(times.seconds, np.array(span) - _early(times)).tolist()
    first = min(first, len(times) - 1)
    return np.arange(first, max(last, first + 1))


def _early(times: VideoTimes) -> float:
    """Returns the seconds by which a frame may be late: containers round times, Matroska to milliseconds."""
    return min(times.tick, 1e-3)
