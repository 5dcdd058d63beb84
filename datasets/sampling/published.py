"""Which frames the published projects take, rounding included, so that their numbers can be reproduced.

Pure functions, 0-based, one rule each; `sampling.py` gives them names for the config. The golden files under
tests/golden/sampling pin each of them. Random draws are asked from `rng` as the original asks its own generator.
"""

from __future__ import annotations

import numpy as np

# --- TSN (Wang et al. 2016, arXiv 1608.00859) and TSM (Lin et al. 2019, arXiv 1811.08383), their PyTorch code ---

DENSE_WINDOW = 64  # frames that TSM's dense sampling spans; the I3D / Non-local habit


def tsn_train(num_frames: int, num_segments: int, rng: np.random.Generator, *, length: int = 1) -> np.ndarray:
    """One uniform draw per segment of floor((num_frames - length + 1) / num_segments) frames; the tail is never seen.

    Videos with fewer positions than segments, but more frames, give sorted draws; shorter ones their first frame only.
    `length` is the number of consecutive frames taken from each index (5 for optical flow). int64 (num_segments,).
    """
    positions = num_frames - length + 1
    segment = positions // num_segments
    if segment > 0:
        return np.arange(num_segments) * segment + rng.integers(0, segment, size=num_segments)
    if num_frames > num_segments and positions > 0:  # as published: no draw from nothing, which ended their program
        return np.sort(rng.integers(0, positions, size=num_segments))
    return np.zeros(num_segments, dtype=np.int64)


def tsn_centres(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """The middle of each segment, as the test scripts take it; short videos repeat frames. int64 (num_segments,)."""
    segment = (num_frames - length + 1) / float(num_segments)
    return _from_first((segment / 2.0 + segment * np.arange(num_segments)).astype(np.int64))


def tsn_val(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """Validation inside the training scripts: centres, but the first frame only where num_frames <= num_segments."""
    if num_frames > num_segments + length - 1:
        return tsn_centres(num_frames, num_segments, length=length)
    return np.zeros(num_segments, dtype=np.int64)


def tsm_twice(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """TSM's "twice" test: a clip of segment centres and a clip of segment starts. int64 (2, num_segments)."""
    segment = (num_frames - length + 1) / float(num_segments)
    starts = _from_first((segment * np.arange(num_segments)).astype(np.int64))
    return np.stack([tsn_centres(num_frames, num_segments, length=length), starts])


def tsm_dense_train(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """A random window of 64 frames at stride 64 // num_segments, wrapped around short videos; mmaction2's dense too."""
    last_start = max(0, num_frames - DENSE_WINDOW)
    start = 0 if last_start == 0 else int(rng.integers(0, last_start))  # as published: last_start itself is never drawn
    return _dense_window(start, num_frames, num_segments)


def tsm_dense_test(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """`num_clips` such windows from the first to the last start; a single one sits in the middle. int64 (clips, T)."""
    last_start = max(0, num_frames - DENSE_WINDOW)
    starts = np.linspace(0, last_start, num_clips).astype(np.int64) if num_clips > 1 else np.array([last_start // 2])
    return np.stack([_dense_window(int(start), num_frames, num_segments) for start in starts])


def tsn_caffe_test(num_frames: int, num_segments: int, *, length: int = 1) -> np.ndarray:
    """The 25-frame test of the original Caffe code: first frame, then equal steps rounded down (no centring).

    Videos shorter than num_segments give their first frame only. int64 (num_segments,).
    """
    step = (num_frames - length) // (num_segments - 1) if num_segments > 1 else 0
    return np.arange(num_segments) * max(step, 0)


def _dense_window(start: int, num_frames: int, num_segments: int) -> np.ndarray:
    stride = DENSE_WINDOW // num_segments
    return (start + np.arange(num_segments) * stride) % num_frames


def _from_first(indices: np.ndarray) -> np.ndarray:
    return np.maximum(indices, 0)  # stacks longer than the video leave less than one position


# --- mmaction2 (SampleFrames, UniformSample) ---


def mmaction2_train_offsets(
    num_frames: int, num_clips: int, span: int, rng: np.random.Generator, *, keep_tail: bool = False
) -> np.ndarray:
    """Random starts of clips that cover `span` = clip_len * frame_stride frames each. int64 (num_clips,)."""
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
    """Segment centres, cast to integers at the very end; `twice` appends the segment starts. int64 (1 or 2, T)."""
    segment = num_frames / float(num_segments)
    starts = np.arange(num_segments) * segment
    clips = [starts + segment / 2.0, starts] if twice else [starts + segment / 2.0]
    return np.stack(clips).astype(np.int64)


def mmaction2_test_offsets(num_frames: int, num_clips: int, reach: int, *, twice: bool = False) -> np.ndarray:
    """Starts of the test clips of a 3-D recipe; the last clip touches the end of the video. int64 (num_clips,).

    `reach` is the number of frames from a clip's first to its last one. `twice` doubles the clips but not their room,
    so the second half runs past the end and is folded back by the out-of-range rule.
    """
    last_start = max(num_frames - reach, 0)
    if num_clips == 1:
        return np.array([last_start // 2], dtype=np.int64)
    count = 2 * num_clips if twice else num_clips
    return np.round(np.arange(count) * (last_start / (num_clips - 1))).astype(np.int64)


def mmaction2_test_at_rate(
    num_frames: int, num_clips: int, clip_len: int, frame_stride: int, *, rate_ratio: float
) -> np.ndarray:
    """The same at a target frame rate; rate_ratio = the video's rate / the target. int64 (num_clips, clip_len).

    A clip spans clip_len * frame_stride frames of the target rate, and starts are whole steps rounded down.
    """
    span = max(1.0, clip_len * frame_stride * rate_ratio)
    room = max(num_frames - span, 0.0)
    starts = np.arange(num_clips) * (room // (num_clips - 1)) if num_clips > 1 else np.array([room // 2])
    return (starts[:, None] + np.linspace(0, span - 1, clip_len)[None, :]).astype(np.int64)


def mmaction2_uniform_test(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """UniformSample: clip c sits at (c + 1) / (num_clips + 1) of each rounded segment. int64 (num_clips, T)."""
    segment = (num_frames - 1) / num_segments
    starts = np.round(np.arange(num_segments) * segment)
    points = segment * (np.arange(num_clips) + 1) / (num_clips + 1)
    return (starts[None, :] + points[:, None]).astype(np.int64)


def loop_around(indices: np.ndarray, num_frames: int) -> np.ndarray:
    """Out-of-range rule "loop": start the video again."""
    return np.mod(indices, num_frames)


def repeat_last(indices: np.ndarray, num_frames: int) -> np.ndarray:
    """Out-of-range rule "repeat_last": each clip (last axis) holds its own last frame inside the video."""
    inside = np.where(indices < num_frames, indices, -1)
    return np.where(indices < num_frames, indices, inside.max(axis=-1, keepdims=True))


# --- PySlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982, and its code) ---


def pyslowfast_start(
    num_frames: int, clip_size: float, clip_index: int, num_clips: int, *, use_offset: bool = False
) -> float:
    """Start of a test clip: the room before the last start is cut into num_clips parts, so the end is not reached.

    `use_offset` uses whole steps over num_clips - 1 parts, and the middle for a single clip.
    """
    room = max(num_frames - clip_size, 0.0)
    if not use_offset:
        return room * clip_index / num_clips
    if num_clips == 1:
        return float(np.floor(room / 2))
    return float(clip_index * np.floor(room / (num_clips - 1)))


def pyslowfast_frames(num_frames: int, start: float, end: float, num_samples: int) -> np.ndarray:
    """`num_samples` frames from `start` to `end` inclusive, in float32, held inside the video. int64 (num_samples,)."""
    steps = linspace_float32(start, end, num_samples)
    return np.clip(steps, 0, num_frames - 1).astype(np.int64)


def pyslowfast_segments(num_frames: int, num_segments: int, rng: np.random.Generator | None) -> np.ndarray:
    """Its Something-Something rule: rounded segment borders of the span num_frames - 1; a draw or the middle.

    int64 (num_segments,). Borders are shared, so neighbours may pick the same frame.
    """
    borders = np.round(np.arange(num_segments + 1) * ((num_frames - 1) / num_segments)).astype(np.int64)
    if rng is None:
        return (borders[:-1] + borders[1:]) // 2
    return rng.integers(borders[:-1], borders[1:] + 1)


def temporal_subsample(num_frames: int, num_samples: int) -> np.ndarray:
    """Evenly from first to last frame, rounded down: PyTorchVideo's subsampling and PySlowFast's slow pathway."""
    return np.clip(linspace_float32(0, num_frames - 1, num_samples), 0, num_frames - 1).astype(np.int64)


def linspace_float32(start: float, end: float, steps: int) -> np.ndarray:
    """Evenly spaced float32 values, counted from both ends towards the middle as torch does it (rounding matters)."""
    if steps == 1:
        return np.array([start], dtype=np.float32)
    start32, end32 = np.float32(start), np.float32(end)
    step = (end32 - start32) / np.float32(steps - 1)
    index = np.arange(steps, dtype=np.float32)
    fromend = end32 - step * (np.float32(steps - 1) - index)
    return np.where(np.arange(steps) < steps // 2, start32 + step * index, fromend).astype(np.float32)


# --- torchvision's video references (clips of consecutive frames, optionally at another rate) ---


def torchvision_resample(count: int, fps: float, new_fps: float) -> np.ndarray:
    """Source frame of each of `count` frames at the new rate, rounded down in float32. int64 (count,)."""
    return np.floor(np.arange(count, dtype=np.float32) * np.float32(fps / new_fps)).astype(np.int64)


def torchvision_clips(
    num_frames: int, clip_len: int, step: int, *, fps: float = 1.0, frame_rate: float | None = None
) -> np.ndarray:
    """All clips of a video: windows of clip_len resampled frames, `step` apart. int64 (clips, clip_len), maybe none.

    A whole ratio of the rates takes every n-th frame, the trailing one included, which the other path may drop.
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
    """Which of a video's clips its uniform sampler takes: evenly, rounded down, repeating where there are too few."""
    return np.floor(linspace_float32(0, num_available - 1, num_clips)).astype(np.int64)
