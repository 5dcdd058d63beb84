"""Clips straight from encoded videos, on a clock in seconds: no frames on the disk.

Which seconds: videos/clip_times.py, or a rule of sampling/rules.py on frames. Which frames are shown then:
videos/shown.py. How they are decoded: videos/reader.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from typing_extensions import override

from datasets.frame_dataset import Key, SampleDataset
from datasets.lists.background import Background
from datasets.lists.records import RecordList
from datasets.places.files import bring, versioned
from datasets.places.place import Place, place
from datasets.protocol import ClipProtocol
from datasets.sampling.rules import DRAWN_FROM_PARTS, get_rule, num_positions, with_stacks
from datasets.videos.clip_times import Span, constant_spans, random_span, random_spans, uniform_spans
from datasets.videos.encoded_samples import EncodedVideoBatch, EncodedVideoSample
from datasets.videos.index import identity, where
from datasets.videos.reader import READERS, Reader, find_reader
from datasets.videos.scan import VideoTimes
from datasets.videos.segments import SegmentIndex
from datasets.videos.shown import count_at_rate, in_spans, of_rule, span_seconds, tested
from datasets.videos.together import TogetherReader
from utils.errors import ConfigError, FrameError
from utils.scoring.label_sets import LabelSets
from utils.transforms.gpu_decode import EncodedSample

_CLIP_ORDER = 0xC11B5  # makes the order of a video's clips independent of the samples' generators


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
        """Returns the path of one entry's video."""
        return self._records.path(int(self.videos[index]))

    def name(self, index: int) -> str:
        """Returns the path of one entry's video and its span."""
        return self._records.name(int(self.videos[index]))

    def where(self, index: int) -> str:
        """Returns `file:line` of one entry's video and its span."""
        return self._records.where(int(self.videos[index]))

    def full_path(self, index: int) -> str:
        """Returns the path of one entry's video below the root."""
        return self._records.full_path(int(self.videos[index]))


class VideoDataset(SampleDataset):
    """Samples of encoded videos, or of the spans of them that the list gives; a span counts as a video.

    protocol: its video_sampling says which seconds of a video the samples show, its context how far outside of spans.
    decoder: "auto" is torchcodec where it is installed and can, else PyAV.
    cache: folder of the index of the videos; default: the user's cache folder.
    background: how many spans of background are added to the list's spans.
    encoded: whether the frames stay encoded, for the device to decode (videos/encoded_samples.py).

    The other arguments and the samples are SampleDataset's.
    """

    batch_kind = EncodedVideoBatch

    def __init__(
        self,
        records: RecordList,
        protocol: ClipProtocol,
        *,
        seed: int = 0,
        flip_labels: np.ndarray | None = None,
        decoder: Literal["auto", "pyav", "torchcodec"] = "pyav",
        cache: str | os.PathLike[str] | None = None,
        background: Background | None = None,
        encoded: bool = False,
    ) -> None:
        self.encoded = encoded
        self.check(protocol, swaps_labels=flip_labels is not None)
        self.clip, self.train, self.sampling = protocol.clip, protocol.train, protocol.video_sampling
        reader: Reader = find_reader(decoder)
        self._decoder, self._reader = next(name for name, function in READERS.items() if function is reader), reader
        self.index = SegmentIndex(records, cache=cache, context=protocol.context, background=background)
        records = self.index.records
        entries = self._entries(len(records))
        self._videos, self._places = RepeatedRecords(records, entries[:, 0]), entries[:, 1]
        super().__init__(self._videos, protocol, seed=seed, flip_labels=flip_labels)

    @classmethod
    def check(cls, protocol: ClipProtocol, *, swaps_labels: bool = False) -> None:
        """Raises ConfigError for settings that no list could satisfy; needs no data.

        swaps_labels: whether mirroring changes a clip's class.
        """
        if protocol.clip.modality == "flow":
            raise ConfigError("common.data.store.type: videos hold no optical flow; tools/dump_flow.py makes it")
        if protocol.video_sampling.sampler == "random_multi" and swaps_labels:
            raise ConfigError(
                "common.data.store.sampler: random_multi joins clips to one sample with one label, but "
                "augmentation.flip_labels would change the label of some of them"
            )
        several = protocol.video_sampling.sampler is not None or protocol.video_sampling.clips_per_video > 1
        if protocol.clip.segments > 1 and several:
            raise ConfigError(
                f"common.data.store: a clip of this network is {protocol.clip.segments} windows of a video "
                "(model.kwargs.segments), which data.sampling draws; leave out sampler and clips_per_video"
            )
        if protocol.video_sampling.near_key is not None:
            if protocol.video_sampling.sampler is not None or protocol.clip.sampling not in DRAWN_FROM_PARTS:
                raise ConfigError(
                    "common.data.store.near_key: moves frames that are drawn one from each part of a video, with "
                    f"data.sampling {', '.join(sorted(DRAWN_FROM_PARTS))} and no data.store.sampler; leave it out"
                )
            if protocol.clip.length > 1:
                raise ConfigError("common.data.store.near_key: moves single frames, not stacks of them; leave it out")

    @property
    @override
    def description(self) -> str:
        return f"{len(self)} {'videos' if len(self) == len(self.index) else 'clips'}"

    @property
    @override
    def usual_length(self) -> dict[str, float]:
        every = max(1, len(self.index) // 1000)
        times = [self.index[video] for video in range(0, len(self.index), every) if video not in self.index.errors]
        if not times:
            return {}
        frames, seconds = np.median([(len(one), one.duration) for one in times], axis=0).tolist()
        return {"frames": frames, "seconds": seconds}

    def _entries(self, count: int) -> np.ndarray:
        """Returns int64 (entries, 2): the video of each entry, and which of the video's clips it is."""
        windows, clips = get_rule(self.clip.sampling).windows, self.sampling.clips_per_video if self.train else 1
        if self.sampling.sampler == "uniform":
            counts = np.array([len(self._uniform(video)) for video in range(count)])
        elif self.sampling.sampler is None and windows is not None and clips > 1:
            counts = np.array([min(clips, self._num_windows(video, windows)) for video in range(count)])
        else:
            counts = np.full(count, 1 if self.sampling.sampler == "random_multi" else clips)
        videos = np.repeat(np.arange(count), counts)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.stack([videos, np.arange(len(videos)) - first[videos]], axis=1)

    def _num_windows(self, video: int, windows: Callable[[int, int, int], np.ndarray]) -> int:
        """Returns the number of clips that a video offers; 1 if it cannot be read, so that its fault is reported."""
        if video in self.index.errors:
            return 1
        count = num_positions(count_at_rate(self.index[video], self.sampling), self.clip.length)
        return len(windows(count, self.clip.num_frames, self.clip.frame_stride))

    def _uniform(self, video: int) -> list[Span]:
        if video in self.index.errors:
            return [(0.0, 0.0)]  # one entry, so that its fault is reported
        times = self.index[video]
        return uniform_spans(times.duration, span_seconds(times, self.clip, self.sampling), stride=self.sampling.stride)

    @override
    def shown(self, key: Key) -> np.ndarray:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        first = self.index.first(int(self._videos.videos[index]))
        begin = self._first_of(epoch)
        return first + self.indices(index, self._generator(begin, index), begin)  # the first thing that a sample draws

    @override
    def seconds(self, key: Key, *, fps: float) -> np.ndarray:
        return self.index.video(int(self._videos.videos[_row(key)])).clock[self.shown(key)]

    def indices(self, index: int, rng: np.random.Generator | None, epoch: int = 0) -> np.ndarray:
        """Chooses the frames of a sample: int64 (num_clips, clip.num_pictures), from the record's first frame on.

        Raises: FrameError.
        """
        times = self.index[int(self._videos.videos[index])]
        if self.sampling.sampler is None:
            return self._by_rule(index, times, rng, epoch)
        duration, seconds = times.duration, span_seconds(times, self.clip, self.sampling)
        place = int(self._places[index])
        if self.sampling.sampler == "uniform":
            spans = [uniform_spans(duration, seconds, stride=self.sampling.stride)[place]]
        elif rng is None:
            return tested(times, self.clip, self.sampling, self.num_clips)
        elif self.sampling.sampler == "constant_clips_per_video":
            spans = [constant_spans(duration, seconds, self.sampling.clips_per_video)[place]]
        elif self.sampling.sampler == "random_multi":
            spans = random_spans(duration, seconds, self.num_clips, rng)
        else:
            spans = [random_span(duration, seconds, rng)]
        return in_spans(times, self.clip, self.sampling, spans)

    def _by_rule(self, index: int, times: VideoTimes, rng: np.random.Generator | None, epoch: int) -> np.ndarray:
        if rng is None:
            return tested(times, self.clip, self.sampling, self.num_clips)
        rule, clip = get_rule(self.clip.sampling), self.clip
        count = count_at_rate(times, self.sampling)
        if rule.windows is not None and self.sampling.clips_per_video > 1:
            windows = rule.windows(num_positions(count, clip.length), clip.num_frames, clip.frame_stride)
            place = int(self._places[index])
            order = np.random.default_rng([self.seed, epoch, index - place, _CLIP_ORDER]).permutation(len(windows))
            indices = with_stacks(windows[order[place]], clip.length, count)[None]
        else:
            indices = rule.draw(count, clip, rng)[None]
        indices = of_rule(times, self.sampling, indices)
        if self.sampling.near_key is not None:
            indices = near_keys(times, indices, self.sampling.near_key)
        return indices

    @override
    @contextlib.contextmanager
    def _ahead(self, keys: Sequence[Key]) -> Iterator[None]:
        """Begins to fetch the files of a batch that are far away, and reads together what its clips share."""
        paths = [self._videos.full_path(_row(key)) for key in keys]
        bring(paths)
        if not self.encoded and (self.num_clips > 1 or len(set(paths)) < len(paths)):
            self._reader = TogetherReader(READERS[self._decoder], self._asked(keys))
        try:
            yield
        finally:
            self._reader = READERS[self._decoder]

    def _asked(self, keys: Sequence[Key]) -> Iterator[tuple[Place, VideoTimes, np.ndarray]]:
        """Yields the file, its times and the frames of each clip. Samples that cannot be read are left out."""
        for key in keys:
            with contextlib.suppress(FrameError):  # which the sample itself reports
                row = _row(key)
                times = self.index.video(int(self._videos.videos[row]))
                for clip in self.shown(key):
                    yield place(self._videos.full_path(row)), times, clip

    @override
    def facts(self) -> dict[str, str]:
        return self.index.facts | {"root": where(self._videos.root)}

    @override
    def fingerprints(self, key: Key) -> list[list[bytes]]:
        index = _row(key)
        file = identity(versioned([self._videos.full_path(index)])[0]) + self._decoder.encode()
        return [[file + b" %d" % frame for frame in clip] for clip in self.shown(key)]

    @override
    def _waiting(self, index: int) -> EncodedSample:
        return EncodedVideoSample(self.records.where(index))

    def _read(
        self, index: int, rng: np.random.Generator | None, epoch: int, clips: np.ndarray | EncodedVideoSample
    ) -> bool:
        video, path = int(self._videos.videos[index]), place(self._videos.full_path(index))
        begin = self._first_of(epoch)
        wanted = self.indices(index, rng if begin == epoch else self._generator(begin, index), begin)
        times, shown = self.index.video(video), wanted + self.index.first(video)
        if isinstance(clips, EncodedVideoSample):
            return clips.show(path, times, shown, self.transform, rng)
        flipped, crops = False, self.transform.num_crops
        for number, numbers in enumerate(shown):
            pictures = self._reader(path, times, numbers)
            flipped = self.transform.apply(pictures, rng, clips[number * crops : (number + 1) * crops])[1]
        return flipped


def _row(key: Key) -> int:
    return key[1] if isinstance(key, tuple) else key


def near_keys(times: VideoTimes, indices: np.ndarray, seconds: float) -> np.ndarray:
    """Moves each frame of clips to the key frame nearest to it, if one is near and in its part of the video.

    indices: (..., T), one frame from each of T equal parts. seconds: how far one may move.
    Returns int64, shaped as `indices`. Where decoding cannot begin at key frames, nothing is moved.
    """
    parts = np.arange(indices.shape[-1] + 1) * len(times) // indices.shape[-1]
    keys = np.searchsorted(times.stamps, times.keys)
    keys = keys[(keys < len(times)) & (times.stamps[np.minimum(keys, len(times) - 1)] == times.keys)]  # of a span's own
    if not times.seekable or not len(keys):
        return indices
    away = abs(times.seconds[keys] - times.seconds[indices][..., None])  # (..., T, keys)
    away[..., (keys < parts[:-1, None]) | (keys >= parts[1:, None])] = np.inf
    return np.where(away.min(-1) <= seconds, keys[away.argmin(-1)], indices)
