"""Chooses the frames of a clip by rules that a config can name. Two of them are our own.

A rule draws training clips from the sample's random generator and picks test clips without one, so that a score never
changes between runs. Indices are 0-based int64. A video with fewer frames than a clip needs is not an error: every rule
defines which frames it repeats. The rules of published projects are computed in published.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.sampling import published
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError

TrainRule = Callable[[int, int, int, np.random.Generator], np.ndarray]
TestRule = Callable[[int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class Rule:
    """Says how clips of T = clip_len frames are taken from a video.

    train: (num_frames, clip_len, frame_stride, rng) -> the indices of a training clip, (T,).
    test: (num_frames, clip_len, frame_stride, num_clips) -> the indices of the test clips, (num_clips, T).
    num_clips: number of test clips in the rule's own protocol.
    uses_stride: False for rules that take one frame per segment, where a stride has no meaning.
    fixed_num_clips: whether no other number of test clips is possible, as with the two clips of "twice".
    stacks: (num_frames, clip_len, rng, length=...) -> (T,), for rules whose published code draws stacks of `length`
        frames itself. For every other rule a stack counts as one frame, and the video has as many frames as there are
        positions for a stack.
    windows: (num_frames, clip_len, frame_stride) -> (n, T), for rules that draw a training clip from a list of n clips.
    """

    train: TrainRule
    test: TestRule
    num_clips: int = 1
    uses_stride: bool = False
    fixed_num_clips: bool = False
    stacks: Callable[..., np.ndarray] | None = None
    windows: Callable[[int, int, int], np.ndarray] | None = None

    def draw(self, num_frames: int, clip: ClipSpec, rng: np.random.Generator) -> np.ndarray:
        """Draws the pictures of one training clip, int64 (clip.num_pictures,); the pictures of a stack are adjacent."""
        if clip.segments > 1:
            starts = self._draw_segments(num_positions(num_frames, clip.length), clip, rng)
        elif self.stacks is not None:
            starts = self.stacks(num_frames, clip.num_frames, rng, length=clip.length)
        else:
            starts = self.train(num_positions(num_frames, clip.length), clip.num_frames, clip.frame_stride, rng)
        return with_stacks(starts, clip.length, num_frames)

    def pick(self, num_frames: int, clip: ClipSpec, num_clips: int) -> np.ndarray:
        """Returns the pictures of the test clips, int64 (num_clips, clip.num_pictures)."""
        positions, length = num_positions(num_frames, clip.length), clip.num_frames // clip.segments
        starts = self.test(positions, length, clip.frame_stride, num_clips * clip.segments)
        if clip.segments > 1:  # each clip has windows from the whole video, as far apart as those of the others
            starts = np.stack([starts[number::num_clips].ravel() for number in range(num_clips)])
        return with_stacks(starts, clip.length, num_frames)

    def _draw_segments(self, num_frames: int, clip: ClipSpec, rng: np.random.Generator) -> np.ndarray:
        """Draws a window from each of equal parts of a video; parts that are shorter than a window overlap."""
        length = clip.num_frames // clip.segments
        part = max(num_frames // clip.segments, min(num_frames, length * clip.frame_stride))
        first = np.arange(clip.segments) * (num_frames - part) // (clip.segments - 1)
        return np.concatenate([start + self.train(part, length, clip.frame_stride, rng) for start in first])

    def check(self, name: str, clip: ClipSpec, num_clips: int) -> None:
        """Raises ConfigError for a clip or a number of clips that this rule, called `name`, does not allow."""
        if clip.frame_stride != 1 and not self.uses_stride:
            raise ConfigError(
                f"sampling {name!r} takes one frame per segment, so frame_stride must be 1, not {clip.frame_stride}"
            )
        if clip.segments > 1 and not self.uses_stride:
            windows = ", ".join(other for other, rule in SAMPLING.items() if rule.uses_stride)
            raise ConfigError(
                f"sampling {name!r} takes single frames, and a clip of this network is {clip.segments} windows of a "
                f"video (model.kwargs.segments); take one of {windows}"
            )
        if self.fixed_num_clips and num_clips != self.num_clips:
            raise ConfigError(f"sampling {name!r} gives {self.num_clips} clips per video, not {num_clips}")


def num_positions(num_frames: int, length: int) -> int:
    """Returns at how many frames a stack of `length` frames may begin; 1 for a video that is too short for a stack."""
    return max(1, num_frames - length + 1)


def with_stacks(starts: np.ndarray, length: int, num_frames: int) -> np.ndarray:
    """Replaces every start by `length` consecutive frames, (..., T) -> (..., T * length).

    Beyond the end of the video the last frame is repeated.
    """
    if length == 1:
        return starts
    stacks = starts[..., None] + np.arange(length)
    return np.minimum(stacks, num_frames - 1).reshape(*starts.shape[:-1], -1)


# --- our own two ---


def segments_train(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Draws one frame from each of num_segments equal parts (TSN, Wang et al. 2016, arXiv 1608.00859, sec. 3).

    Returns int64 (num_segments,). Part i of S is [floor(i*N/S), floor((i+1)*N/S)), so the parts cover all N frames. If
    a video is shorter than num_segments, an empty part takes the frame at its centre.
    """
    borders = np.arange(num_segments + 1) * num_frames // num_segments
    low, high = borders[:-1], borders[1:]
    if num_frames >= num_segments:
        return rng.integers(low, high)
    drawn = rng.integers(low, np.maximum(high, low + 1))
    return np.where(high > low, drawn, segments_test(num_frames, num_segments, 1)[0])


def segments_test(num_frames: int, num_segments: int, num_clips: int) -> np.ndarray:
    """Takes the middle of each part, floor(N/S * (i + 1/2)): 100 frames and 3 segments give 16, 50, 83.

    Returns int64 (num_clips, num_segments). With several clips, clip c takes the point (c + 1/2) / num_clips of each
    part.
    """
    # in whole numbers, N * (2*n*i + 2*c + 1) // (2*n*S), so that no float is rounded
    part = np.arange(num_segments)[None, :] * 2 * num_clips
    point = 2 * np.arange(num_clips)[:, None] + 1
    return num_frames * (part + point) // (2 * num_clips * num_segments)


def clip_train(num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator) -> np.ndarray:
    """Takes clip_len frames at frame_stride from a random start on, int64 (clip_len,).

    A short video repeats its last frame.
    """
    last_start = max(0, num_frames - window_length(clip_len, frame_stride))
    return _window(int(rng.integers(0, last_start + 1)), num_frames, clip_len, frame_stride)


def clip_test(num_frames: int, clip_len: int, frame_stride: int, num_clips: int) -> np.ndarray:
    """Takes num_clips windows like `clip_train`, evenly from the start to the end of the video, or one in the middle.

    Returns int64 (num_clips, clip_len).
    """
    last_start = max(0, num_frames - window_length(clip_len, frame_stride))
    starts = np.round(np.linspace(0, last_start, num_clips)) if num_clips > 1 else [last_start // 2]
    return np.stack([_window(int(start), num_frames, clip_len, frame_stride) for start in starts])


def window_length(clip_len: int, frame_stride: int) -> int:
    """Returns the number of frames from the first to the last frame of a clip, both included."""
    return (clip_len - 1) * frame_stride + 1


def _window(start: int, num_frames: int, clip_len: int, frame_stride: int) -> np.ndarray:
    return np.minimum(start + np.arange(clip_len) * frame_stride, num_frames - 1)


# --- published protocols as `train` and `test` of a rule ---


def _tsn_train(num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator) -> np.ndarray:
    return published.tsn_train(num_frames, clip_len, rng)


def _one_clip(rule: Callable[[int, int], np.ndarray]) -> TestRule:
    return lambda num_frames, clip_len, frame_stride, num_clips: rule(num_frames, clip_len)[None]


def _mmaction2_segments_train(
    num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator
) -> np.ndarray:
    return published.mmaction2_train_offsets(num_frames, clip_len, 1, rng) % num_frames


def _mmaction2_clip_train(num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator) -> np.ndarray:
    start = published.mmaction2_train_offsets(num_frames, 1, clip_len * frame_stride, rng)[0]
    return published.loop_around(start + np.arange(clip_len) * frame_stride, num_frames)


def _mmaction2_clip_test(num_frames: int, clip_len: int, frame_stride: int, num_clips: int) -> np.ndarray:
    starts = published.mmaction2_test_offsets(num_frames, num_clips, window_length(clip_len, frame_stride))
    indices = starts.astype(np.int64)[:, None] + np.arange(clip_len) * frame_stride
    return published.loop_around(indices, num_frames)


def _pyslowfast_train(num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator) -> np.ndarray:
    size = clip_len * frame_stride
    start = float(rng.uniform(0.0, max(num_frames - size, 0)))
    return published.pyslowfast_frames(num_frames, start, start + size - 1, clip_len)


def _pyslowfast_test(num_frames: int, clip_len: int, frame_stride: int, num_clips: int) -> np.ndarray:
    size = clip_len * frame_stride
    starts = [published.pyslowfast_start(num_frames, size, clip, num_clips) for clip in range(num_clips)]
    return np.stack([published.pyslowfast_frames(num_frames, start, start + size - 1, clip_len) for start in starts])


def _torchvision_windows(num_frames: int, clip_len: int, frame_stride: int) -> np.ndarray:
    windows = published.torchvision_clips(num_frames, clip_len, 1, fps=float(frame_stride), frame_rate=1.0)
    if len(windows):
        return windows
    return _window(0, num_frames, clip_len, frame_stride)[
        None
    ]  # torchvision skips such videos; here the last frame is repeated


def _torchvision_train(num_frames: int, clip_len: int, frame_stride: int, rng: np.random.Generator) -> np.ndarray:
    windows = _torchvision_windows(num_frames, clip_len, frame_stride)
    return windows[rng.integers(0, len(windows))]


def _torchvision_test(num_frames: int, clip_len: int, frame_stride: int, num_clips: int) -> np.ndarray:
    windows = _torchvision_windows(num_frames, clip_len, frame_stride)
    return windows[published.torchvision_uniform_choice(len(windows), num_clips)]


SAMPLING: dict[str, Rule] = {
    # ours: the defaults of the segment methods (tsn, tsm) and of the window methods (slowfast, clip3d)
    "segments": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: segments_train(num_frames, clip_len, rng),
        test=lambda num_frames, clip_len, frame_stride, num_clips: segments_test(num_frames, clip_len, num_clips),
    ),
    # the same frames in training as in testing, so that a feature cache holds all that a training needs after one epoch
    "middle": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: segments_test(num_frames, clip_len, 1)[0],
        test=lambda num_frames, clip_len, frame_stride, num_clips: segments_test(num_frames, clip_len, num_clips),
    ),
    "clip": Rule(train=clip_train, test=clip_test, num_clips=10, uses_stride=True),
    # to "clip" what "middle" is to "segments"
    "middle_clip": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: clip_test(num_frames, clip_len, frame_stride, 1)[0],
        test=clip_test,
        num_clips=10,
        uses_stride=True,
    ),
    # TSN and TSM as their authors train and test them
    "tsn": Rule(
        train=_tsn_train, test=_one_clip(published.tsn_centres), fixed_num_clips=True, stacks=published.tsn_train
    ),
    "tsn_val": Rule(
        train=_tsn_train, test=_one_clip(published.tsn_val), fixed_num_clips=True, stacks=published.tsn_train
    ),
    "tsn_caffe": Rule(
        train=_tsn_train, test=_one_clip(published.tsn_caffe_test), fixed_num_clips=True, stacks=published.tsn_train
    ),
    "twice": Rule(
        train=_tsn_train,
        test=lambda num_frames, clip_len, frame_stride, num_clips: published.tsm_twice(num_frames, clip_len),
        num_clips=2,
        fixed_num_clips=True,
        stacks=published.tsn_train,
    ),
    "dense": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: published.tsm_dense_train(num_frames, clip_len, rng),
        test=lambda num_frames, clip_len, frame_stride, num_clips: published.tsm_dense_test(
            num_frames, clip_len, num_clips
        ),
        num_clips=10,
    ),
    # the other projects
    "mmaction2_segments": Rule(
        train=_mmaction2_segments_train,
        test=_one_clip(lambda num_frames, clip_len: published.mmaction2_test_2d(num_frames, clip_len)[0]),
        fixed_num_clips=True,
    ),
    "mmaction2_clip": Rule(train=_mmaction2_clip_train, test=_mmaction2_clip_test, num_clips=10, uses_stride=True),
    "mmaction2_uniform": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: published.pyslowfast_segments(num_frames, clip_len, rng),
        test=lambda num_frames, clip_len, frame_stride, num_clips: published.mmaction2_uniform_test(
            num_frames, clip_len, num_clips
        ),
    ),
    "pyslowfast": Rule(train=_pyslowfast_train, test=_pyslowfast_test, num_clips=10, uses_stride=True),
    "pyslowfast_segments": Rule(
        train=lambda num_frames, clip_len, frame_stride, rng: published.pyslowfast_segments(num_frames, clip_len, rng),
        test=_one_clip(lambda num_frames, clip_len: published.pyslowfast_segments(num_frames, clip_len, None)),
        fixed_num_clips=True,
    ),
    "torchvision": Rule(
        train=_torchvision_train,
        test=_torchvision_test,
        num_clips=5,
        uses_stride=True,
        windows=_torchvision_windows,
    ),
}
SEGMENT_RULES = frozenset(name for name, rule in SAMPLING.items() if not rule.uses_stride)
DRAWN_FROM_PARTS = SEGMENT_RULES - {"middle", "dense"}  # a training clip has a random frame of each of T parts


def get_rule(name: str) -> Rule:
    """Returns the rule called `name`. Raises ConfigError that lists the known names."""
    if name not in SAMPLING:
        raise ConfigError(f"sampling {name!r} is not one of {', '.join(SAMPLING)}")
    return SAMPLING[name]
