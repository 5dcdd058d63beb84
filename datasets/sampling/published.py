"""Computes the frames that published projects take, with their rounding, so that their results can be reproduced.

Every function is pure, returns 0-based indices and implements one rule; rules.py gives the rules their names for the
config. Files in tests/golden/sampling pin the indices. Random numbers are drawn from `rng` in the order in which the
original draws them from its own generator.
"""

from __future__ import annotations

import numpy as np

# --- TSN (Wang et al. 2016, arXiv 1608.00859) and TSM (Lin et al. 2019, arXiv 1811.08383), their PyTorch code ---

DENSE_WINDOW = 64  # frames that TSM's dense sampling spans, as in I3D and Non-local


def tsn_train(num_frames: int, num_segments: int, rng: np.random.Generator, *, length: int = 1) -> np.ndarray:
    """Draws one frame from each segment of floor((num_frames - length + 1) / num_segments) frames.

    Returns int64 (num_segments,). The frames after the last segment are never taken. A video with fewer positions than
    segments, but more frames, gives sorted draws; a shorter one gives its first frame only.

    length: number of consecutive frames that are taken from each index on (5 for optical flow).
    """
    positions = num_frames - length + 1
    segment = positions // num_segments
    if segment > 0:
        return np.arange(num_segments) * segment + rng.integers(0, segment, size=num_segments)
    if num_frames > num_segments and positions > 0:  # guard: the original draws from an empty range here and crashes
        return np.sort(rng.integers(0, positions, size=num_segments))
    return np.zeros(num_segments, dtype=np.int64)


def tsn_centres(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """Takes the middle of each segment, as the test scripts do; short videos repeat frames. int64 (num_segments,)."""
    segment = (num_frames - length + 1) / float(num_segments)
    return _from_first((segment / 2.0 + segment * np.arange(num_segments)).astype(np.int64))


def tsn_val(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """Takes the frames that the training scripts validate with, int64 (num_segments,).

    They are the centres of the segments, but only the first frame if num_frames <= num_segments + length - 1.
    """
    if num_frames > num_segments + length - 1:
        return tsn_centres(num_frames, num_segments, length=length)
    return np.zeros(num_segments, dtype=np.int64)


def tsm_twice(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """Takes TSM's two test clips: one of segment centres and one of segment starts. int64 (2, num_segments)."""
    segment = (num_frames - length + 1) / float(num_segments)
    starts = _from_first((segment * np.arange(num_segments)).astype(np.int64))
    return np.stack([tsn_centres(num_frames, num_segments, length=length), starts])


def tsm_dense_train(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a window of 64 frames at stride 64 // num_segments, which wraps around in short videos.

    Returns int64 (num_segments,). mmaction2's dense sampling is the same.
    """
    last_start = max(0, num_frames - DENSE_WINDOW)
    start = 0 if last_start == 0 else int(rng.integers(0, last_start))  # as published: last_start itself is never drawn
    return _dense_window(start, num_frames, num_segments)


def tsm_dense_test(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """Takes windows like `tsm_dense_train`, evenly from the first to the last start; a single one is in the middle.

    Returns int64 (num_clips, num_segments).
    """
    last_start = max(0, num_frames - DENSE_WINDOW)
    starts = np.linspace(0, last_start, num_clips).astype(np.int64) if num_clips > 1 else np.array([last_start // 2])
    return np.stack([_dense_window(int(start), num_frames, num_segments) for start in starts])


def tsn_caffe_test(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """Takes the test frames of the original Caffe code: the first frame, then equal steps rounded down.

    Returns int64 (num_segments,). Frames are not centred in their segments. Videos shorter than num_segments give
    their first frame only.
    """
    step = (num_frames - length) // (num_segments - 1) if num_segments > 1 else 0
    return np.arange(num_segments) * max(step, 0)


def _dense_window(start: int, num_frames: int, num_segments: int) -> np.ndarray:
    stride = DENSE_WINDOW // num_segments
    return (start + np.arange(num_segments) * stride) % num_frames


def _from_first(indices: np.ndarray) -> np.ndarray:
    return np.maximum(indices, 0)  # a stack longer than the video leaves no position


# --- mmaction2 (SampleFrames, UniformSample) ---


def mmaction2_train_offsets(
    num_frames: int, num_clips: int, span: int, rng: np.random.Generator, *, keep_tail: bool = False
) -> np.ndarray:
    """Draws the starts of clips that cover `span` = clip_len * frame_stride frames each, int64 (num_clips,).

    keep_tail: whether the frames after the last whole segment can be drawn, too.
    """
    positions = num_frames - span + 1
    if keep_tail:
        if num_frames < span:
            return np.zeros(num_clips, dtype=np.int64)
        segment = positions / float(num_clips)
        return (np.arange(num_clips) * segment + rng.uniform(0.0, segment, size=num_clips)).astype(np.int64)
    whole = positions // num_clips
    if whole > 0:
        return np.arange(num_clips) * whole + rng.integers(0, whole, size=num_clips)
    if num_frames > max(num_clips, span):
        return np.sort(rng.integers(0, positions, size=num_clips))
    if whole == 0:
        return np.around(np.arange(num_clips) * (positions / num_clips)).astype(np.int64)
    return np.zeros(num_clips, dtype=np.int64)


def mmaction2_test_2d(num_frames: int, num_segments: int, *, twice: bool = False) -> np.ndarray:
    """Takes the segment centres, rounded down at the very end; `twice` adds the segment starts. int64 (1 or 2, T)."""
    segment = num_frames / float(num_segments)
    starts = np.arange(num_segments) * segment
    clips = [starts + segment / 2.0, starts] if twice else [starts + segment / 2.0]
    return np.stack(clips).astype(np.int64)


def mmaction2_test_offsets(num_frames: int, num_clips: int, reach: int, *, twice: bool = False) -> np.ndarray:
    """Returns the starts of the test clips of a 3-D recipe, int64 (num_clips,); the last clip ends with the video.

    reach: number of frames from a clip's first to its last one.
    twice: doubles the number of clips but not the range of starts, so that the second half runs past the end and the
        out-of-range rule moves it back.
    """
    last_start = max(num_frames - reach, 0)
    if num_clips == 1:
        return np.array([last_start // 2], dtype=np.int64)
    count = 2 * num_clips if twice else num_clips
    return np.round(np.arange(count) * (last_start / (num_clips - 1))).astype(np.int64)


def mmaction2_test_at_rate(
    num_frames: int, num_clips: int, clip_len: int, frame_stride: int, *, rate_ratio: float
) -> np.ndarray:
    """Takes test clips at a target frame rate, int64 (num_clips, clip_len).

    A clip spans clip_len * frame_stride frames of the target rate; starts are multiples of a step that is rounded down.

    rate_ratio: the video's frame rate / the target rate.
    """
    span = max(1.0, clip_len * frame_stride * rate_ratio)
    last_start = max(num_frames - span, 0.0)
    starts = np.arange(num_clips) * (last_start // (num_clips - 1)) if num_clips > 1 else np.array([last_start // 2])
    return (starts[:, None] + np.linspace(0, span - 1, clip_len)[None, :]).astype(np.int64)


def mmaction2_uniform_test(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """Takes the frame at (c + 1) / (num_clips + 1) of each rounded segment in clip c (UniformSample).

    Returns int64 (num_clips, num_segments).
    """
    segment = (num_frames - 1) / num_segments
    starts = np.round(np.arange(num_segments) * segment)
    points = segment * (np.arange(num_clips) + 1) / (num_clips + 1)
    return (starts[None, :] + points[:, None]).astype(np.int64)


def loop_around(indices: np.ndarray, num_frames: int) -> np.ndarray:
    """Starts the video again for indices beyond its end (out-of-range rule "loop")."""
    return np.mod(indices, num_frames)


def repeat_last(indices: np.ndarray, num_frames: int) -> np.ndarray:
    """Repeats the last frame that a clip (last axis) has inside the video (out-of-range rule "repeat_last")."""
    inside = np.where(indices < num_frames, indices, -1)
    return np.where(indices < num_frames, indices, inside.max(axis=-1, keepdims=True))


# --- PySlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982, and its code) ---


def pyslowfast_start(
    num_frames: int, clip_size: float, clip_index: int, num_clips: int, *, use_offset: bool = False
) -> float:
    """Returns the start of a test clip: a multiple of last_start / num_clips, so that no clip ends with the video.

    use_offset: takes multiples of floor(last_start / (num_clips - 1)) instead, and the middle for a single clip.
    """
    last_start = max(num_frames - clip_size, 0.0)
    if not use_offset:
        return last_start * clip_index / num_clips
    if num_clips == 1:
        return float(np.floor(last_start / 2))
    return float(clip_index * np.floor(last_start / (num_clips - 1)))


def pyslowfast_frames(num_frames: int, start: float, end: float, num_samples: int) -> np.ndarray:
    """Takes num_samples frames evenly from `start` to `end` inclusive, computed in float32, int64 (num_samples,).

    Indices outside the video become its first or last frame.
    """
    steps = linspace_float32(start, end, num_samples)
    return np.clip(steps, 0, num_frames - 1).astype(np.int64)


def pyslowfast_segments(num_frames: int, num_segments: int, rng: np.random.Generator | None) -> np.ndarray:
    """Takes one frame between the rounded borders of each segment, as PySlowFast does for Something-Something.

    Returns int64 (num_segments,). The segments divide num_frames - 1 and share their borders, so neighbours may take
    the same frame.

    rng: draws the frames; None takes the middle of each segment.
    """
    borders = np.round(np.arange(num_segments + 1) * ((num_frames - 1) / num_segments)).astype(np.int64)
    if rng is None:
        return (borders[:-1] + borders[1:]) // 2
    return rng.integers(borders[:-1], borders[1:] + 1)


def temporal_subsample(num_frames: int, num_samples: int) -> np.ndarray:
    """Takes frames evenly from the first to the last one, rounded down, int64 (num_samples,).

    PyTorchVideo subsamples clips this way, and PySlowFast its slow pathway.
    """
    return np.clip(linspace_float32(0, num_frames - 1, num_samples), 0, num_frames - 1).astype(np.int64)


def linspace_float32(start: float, end: float, steps: int) -> np.ndarray:
    """Returns evenly spaced float32 values, computed from both ends towards the middle with the rounding of torch."""
    if steps == 1:
        return np.array([start], dtype=np.float32)
    start32, end32 = np.float32(start), np.float32(end)
    step = (end32 - start32) / np.float32(steps - 1)
    index = np.arange(steps, dtype=np.float32)
    fromend = end32 - step * (np.float32(steps - 1) - index)
    return np.where(np.arange(steps) < steps // 2, start32 + step * index, fromend).astype(np.float32)


# --- torchvision's video references (clips of consecutive frames, optionally at another rate) ---


def torchvision_resample(count: int, fps: float, new_fps: float) -> np.ndarray:
    """Returns the source frame of each of `count` frames at the new rate, rounded down in float32. int64 (count,)."""
    return np.floor(np.arange(count, dtype=np.float32) * np.float32(fps / new_fps)).astype(np.int64)


def torchvision_clips(
    num_frames: int, clip_len: int, step: int, *, fps: float = 1.0, frame_rate: float | None = None
) -> np.ndarray:
    """Returns all clips of a video: windows of clip_len resampled frames, `step` frames apart.

    The result is int64 (n, clip_len); n may be 0. If the ratio of the rates is a whole number, every n-th frame is
    taken up to the last possible one, which other ratios may drop.
    """
    ratio = 1.0 if frame_rate is None else fps / frame_rate
    if float(ratio).is_integer():
        frames = np.arange(0, num_frames, int(ratio))
    else:
        frames = torchvision_resample(int(np.floor(num_frames / ratio)), ratio, 1.0)
    if len(frames) < clip_len:
        return np.zeros((0, clip_len), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(frames, clip_len)[::step]


def torchvision_uniform_choice(num_available: int, num_clips: int) -> np.ndarray:
    """Returns which clips of a video the uniform sampler takes, int64 (num_clips,).

    They are spread evenly, rounded down, and repeat if a video has fewer clips.
    """
    return np.floor(linspace_float32(0, num_available - 1, num_clips)).astype(np.int64)
