"""Clips straight from encoded videos, on a clock in seconds: no frames on the disk.

Which seconds: clip_times.py, or a rule of sampling.py on frames. Which frames are shown then: here. How they are
decoded: video_reader.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datasets.lists.records import RecordList
from datasets.sample import AugmentDraw, ClipTransform, SampleDataset
from datasets.sampling.published import temporal_subsample
from datasets.sampling.rules import get_rule, num_positions, with_stacks
from datasets.videos.clip_times import SAMPLERS, Span, constant_spans, random_span, random_spans, uniform_spans
from datasets.videos.index import VideoTimes
from datasets.videos.reader import READERS, find_reader
from datasets.videos.segments import SegmentIndex
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError, FrameError
from utils.scoring.label_sets import LabelSets

_CLIP_ORDER = 0xC11B5  # keeps the order of a video's clips apart from the samples' generators


class RepeatedRecords:
    """A list in which videos occur several times: one entry per clip. `videos` (int64) says which video each one is."""

    def __init__(self, records: RecordList, videos: np.ndarray) -> None:
        self._records, self.videos = records, videos
        self.source, self.root = records.source, records.root
        labels = records.labels
        self.labels = labels.take(videos) if isinstance(labels, LabelSets) else labels[videos]

    def __len__(self) -> int:
        return len(self.videos)

    def path(self, index: int) -> str:
        """The path of one entry's video."""
        return self._records.path(int(self.videos[index]))

    def where(self, index: int) -> str:
        """`file:line` of one entry's video."""
        return self._records.where(int(self.videos[index]))

    def full_path(self, index: int) -> str:
        """The path of one entry's video below the root."""
        return self._records.full_path(int(self.videos[index]))


class VideoDataset(SampleDataset):
    """Encoded videos, or the parts of them that the list gives seconds for; a part is as a video of its own.

    sampler: None takes clip.sampling, the rule that frame folders have, on the video's frames (at `fps`, if given).
    Else spans of clip_seconds are taken: "random"; "random_multi", clips_per_video random ones in one training sample;
    "uniform", every `stride` seconds (default: end to start), each an entry of its own; "constant_clips_per_video",
    spread evenly, `num_clips` views of one sample in testing, entries of their own in training.
    clip_seconds: default T x frame_stride frames at `fps` or the video's own rate. fps: resamples; of a span the frames
    shown every frame_stride / fps seconds from its start are taken, without it T of the span's frames, evenly.
    clips_per_video: clips of each video in one epoch; where the rule lists its clips (torchvision), that many different
    ones, or all there are. decoder: pyav, torchcodec or auto. cache: folder of the index,
    default the user's cache folder.

    The other arguments and the samples are SampleDataset's.
    """

    def __init__(
        self,
        records: RecordList,
        *,
        clip: ClipSpec,
        transform: ClipTransform,
        augment: AugmentDraw | None = None,
        train: bool = True,
        num_clips: int | None = None,
        seed: int = 0,
        flip_labels: np.ndarray | None = None,
        sampler: str | None = None,
        clip_seconds: float | None = None,
        stride: float | None = None,
        fps: float | None = None,
        clips_per_video: int = 1,
        decoder: str = "pyav",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.sampler, self.clip_seconds, self.stride, self.fps = sampler, clip_seconds, stride, fps
        self._check(train, clips_per_video, flip_labels)
        if clip.modality == "flow":
            raise ConfigError("common.data.store.type: videos hold no optical flow; tools/dump_flow.py makes it")
        rule = get_rule(clip.sampling)
        if sampler is None:
            rule.check(clip.sampling, clip.frame_stride, rule.num_clips if train else num_clips or rule.num_clips)
        reader = find_reader(decoder)
        self._decoder = next(name for name, function in READERS.items() if function is reader)
        self.index = SegmentIndex(records, cache=cache)
        self._clip = clip
        entries = self._entries(len(records), clips_per_video, train)
        videos = RepeatedRecords(records, entries[:, 0])
        self._places = entries[:, 1]
        self._count = clips_per_video
        if train:
            views = clips_per_video if sampler == "random_multi" else 1
        elif sampler == "uniform":
            views = 1
        else:
            views = (rule.num_clips if sampler is None else 1) if num_clips is None else num_clips
        super().__init__(
            videos,
            clip=clip,
            transform=transform,
            augment=augment,
            train=train,
            num_clips=views,
            seed=seed,
            flip_labels=flip_labels,
        )
        self._videos = videos

    def _check(self, train: bool, clips_per_video: int, flip_labels: np.ndarray | None) -> None:
        where = "common.data.store"
        if self.sampler not in (None, *SAMPLERS):
            raise ConfigError(f"{where}.sampler: {self.sampler!r} is not one of {', '.join(SAMPLERS)}")
        if not train and self.sampler in ("random", "random_multi"):
            self.sampler = "constant_clips_per_video"  # a score must not move between runs
        for name in ("clip_seconds", "stride", "fps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{where}.{name}: {value} is not above 0")
        if clips_per_video < 1:
            raise ConfigError(f"{where}.clips_per_video: {clips_per_video} is not at least 1")
        if self.sampler == "random_multi" and flip_labels is not None:
            raise ConfigError(
                f"{where}.sampler: random_multi puts clips with one label together; flip_labels cannot be"
            )

    def _entries(self, count: int, clips_per_video: int, train: bool) -> np.ndarray:
        """int64 (entries, 2): the video of each entry, and which of the video's clips it is."""
        windows = get_rule(self._clip.sampling).windows
        if self.sampler == "uniform":
            counts = np.array([len(self._uniform(video)) for video in range(count)])
        elif self.sampler is None and train and windows is not None and clips_per_video > 1:
            counts = np.array([min(clips_per_video, self._num_windows(video, windows)) for video in range(count)])
        else:
            counts = np.full(count, clips_per_video if train and self.sampler != "random_multi" else 1)
        videos = np.repeat(np.arange(count), counts)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.stack([videos, np.arange(len(videos)) - first[videos]], axis=1)

    def _num_windows(self, video: int, windows: Callable[[int, int, int], np.ndarray]) -> int:
        """How many clips a video has to choose from; one where it cannot be read, so that its fault is seen."""
        if video in self.index.errors:
            return 1
        return len(windows(self._at_rate(self.index[video]), self._clip.num_frames, self._clip.frame_stride))

    def _uniform(self, video: int) -> list[Span]:
        if video in self.index.errors:
            return [(0.0, 0.0)]  # one entry, so that its fault is seen
        times = self.index[video]
        return uniform_spans(times.duration, self._seconds(times), stride=self.stride)

    def _seconds(self, times: VideoTimes) -> float:
        if self.clip_seconds is not None:
            return self.clip_seconds
        rate = self.fps or (len(times) / times.duration if times.duration else 1.0)
        return self._clip.num_frames * self._clip.frame_stride / rate

    def indices(self, index: int, rng: np.random.Generator | None, epoch: int = 0) -> np.ndarray:
        """Which frames of the video one sample shows, int64 (num_clips, clip.num_pictures), 0-based.

        Raises FrameError.
        """
        times = self.index[int(self._videos.videos[index])]
        if self.sampler is None:
            return self._by_rule(index, times, rng, epoch)
        duration, seconds, place = times.duration, self._seconds(times), int(self._places[index])
        if self.sampler == "uniform":
            spans = [uniform_spans(duration, seconds, stride=self.stride)[place]]
        elif rng is None:
            spans = constant_spans(duration, seconds, self.num_clips)
        elif self.sampler == "constant_clips_per_video":
            spans = [constant_spans(duration, seconds, self._count)[place]]
        elif self.sampler == "random_multi":
            spans = random_spans(duration, seconds, self.num_clips, rng)
        else:
            spans = [random_span(duration, seconds, rng)]
        indices = np.stack([self._in_span(times, span) for span in spans])
        return with_stacks(indices, self.clip.length, len(times))

    def _by_rule(self, index: int, times: VideoTimes, rng: np.random.Generator | None, epoch: int) -> np.ndarray:
        rule, clip = get_rule(self.clip.sampling), self.clip
        count = self._at_rate(times)
        if rng is None:
            indices = rule.pick(count, clip, self.num_clips)
        elif rule.windows is not None and self._count > 1:
            windows = rule.windows(num_positions(count, clip.length), clip.num_frames, clip.frame_stride)
            place = int(self._places[index])
            order = np.random.default_rng([self.seed, epoch, index - place, _CLIP_ORDER]).permutation(len(windows))
            indices = with_stacks(windows[order[place]], clip.length, count)[None]
        else:
            indices = rule.draw(count, clip, rng)[None]
        return indices if self.fps is None else shown_at(times, indices / self.fps)

    def _at_rate(self, times: VideoTimes) -> int:
        """How many frames a rule sees: the video's, or those of its time at `fps`."""
        return len(times) if self.fps is None else max(1, round(times.duration * self.fps))

    def _in_span(self, times: VideoTimes, span: Span) -> np.ndarray:
        if self.fps is not None:
            ticks = span[0] + np.arange(self.clip.num_frames) * (self.clip.frame_stride / self.fps)
            return shown_at(times, ticks)
        shown = shown_during(times, span)
        return shown[temporal_subsample(len(shown), self.clip.num_frames)]

    def _read(
        self, index: int, rng: np.random.Generator | None, epoch: int, out: np.ndarray | None
    ) -> tuple[Any, bool]:
        video = int(self._videos.videos[index])
        path = Path(self._videos.full_path(index))
        wanted = self.indices(index, rng, epoch)
        pictures = READERS[self._decoder](path, self.index.video(video), wanted.ravel() + self.index.first(video))
        flipped = False
        for number, (clip, place) in enumerate(zip(wanted, self._views(out), strict=True)):
            _, flipped = self.transform.apply(pictures[number * len(clip) : (number + 1) * len(clip)], rng, place)
        return out, flipped


def shown_at(times: VideoTimes, seconds: np.ndarray) -> np.ndarray:
    """The frame that is on the screen at each time; the last one after the end. int64, as `seconds` is shaped."""
    if not len(times):
        raise FrameError("there is no frame in it")
    found = np.searchsorted(times.seconds, seconds + _early(times), side="right") - 1
    return np.clip(found, 0, len(times) - 1)


def shown_during(times: VideoTimes, span: Span) -> np.ndarray:
    """The frames that appear from the start to before the end of a span, or the last one. int64 (n,), n > 0."""
    first, last = np.searchsorted(times.seconds, np.array(span) - _early(times)).tolist()
    first = min(first, len(times) - 1)
    return np.arange(first, max(last, first + 1))


def _early(times: VideoTimes) -> float:
    """Seconds by which a frame may come late and still be due: containers round, Matroska to milliseconds."""
    return min(times.tick, 1e-3)
