"""PyTorchVideo's data set and samplers under its own names: dictionaries of clips for a DataLoader of one's own.

Which seconds a clip covers: clip_times.py. Which frames these are: video_dataset.py. What happens to them then:
clip_transforms.py. A run of main.py uses VideoDataset instead, with the same samplers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import IterableDataset, RandomSampler, Sampler, get_worker_info

from datasets.lists.records import RecordList
from datasets.lists.spelling import as_on_disk
from datasets.lists.tables import number_classes, read_videos
from datasets.video_dataset import shown_during
from datasets.videos.clip_times import SAMPLERS, Span, constant_spans, random_span, random_spans, uniform_spans
from datasets.videos.index import index_videos
from datasets.videos.reader import find_reader
from datasets.videos.scan import VideoTimes
from utils.config.build import check_arguments, check_name
from utils.errors import ConfigError

_log = logging.getLogger(__name__)
Sample = dict[str, Any]
Seconds = float | Fraction


@dataclass(frozen=True)
class ClipSampler:
    """Chooses the spans of a video that become its samples: `spans(duration, rng)`, one list of spans per sample."""

    spans: Callable[[Seconds, np.random.Generator], list[list[Span]]]


def _random(clip_duration: Seconds) -> ClipSampler:
    return ClipSampler(lambda duration, rng: [[random_span(float(duration), float(clip_duration), rng)]])


def _random_multi(clip_duration: Seconds, num_clips: int) -> ClipSampler:
    return ClipSampler(lambda duration, rng: [random_spans(float(duration), float(clip_duration), num_clips, rng)])


def _uniform(clip_duration: Seconds, stride: Seconds | None = None, backpad_last: bool = False) -> ClipSampler:
    def spans(duration: Seconds, rng: np.random.Generator) -> list[list[Span]]:
        return [[span] for span in uniform_spans(duration, clip_duration, stride=stride, backpad=backpad_last)]

    return ClipSampler(spans)


def _constant(clip_duration: Seconds, clips_per_video: int, augs_per_clip: int = 1) -> ClipSampler:
    def spans(duration: Seconds, rng: np.random.Generator) -> list[list[Span]]:
        found = constant_spans(duration, clip_duration, clips_per_video)
        return [[span] for span in found for _ in range(augs_per_clip)]

    return ClipSampler(spans)


_MAKERS: dict[str, Callable[..., ClipSampler]] = dict(
    zip(SAMPLERS, (_random, _random_multi, _uniform, _constant), strict=True)
)


def make_clip_sampler(sampling_type: str, *args: Any) -> ClipSampler:
    """Makes the clip sampler of that name; durations and strides are in seconds.

    "random", clip_duration: one span from anywhere. "random_multi", clip_duration, num_clips: that many in one sample.
    "uniform", clip_duration[, stride, backpad_last]: the whole video, span after span.
    "constant_clips_per_video", clip_duration, clips_per_video[, augs_per_clip]: spread evenly.

    Raises: ConfigError for another name or wrong arguments.
    """
    check_name(_MAKERS, sampling_type, where="make_clip_sampler")
    maker = _MAKERS[sampling_type]
    names = [name for name in maker.__annotations__ if name != "return"]
    if len(args) > len(names):
        raise ConfigError(f"make_clip_sampler: {sampling_type} takes {', '.join(names)}; {len(args)} values are given")
    checked = check_arguments(
        maker, dict(zip(names, args, strict=False)), name=sampling_type, where="make_clip_sampler"
    )
    for name, value in checked.items():
        if value is not None and not isinstance(value, bool) and value <= 0:
            raise ConfigError(f"make_clip_sampler: {name} {value} is not above 0")
    return maker(**checked)


class ExactDistributedSampler(Sampler[int]):
    """Yields this process's share of the videos in order, each video once over all processes: for validation.

    torch's DistributedSampler repeats some until the shares are equal, as training wants it. Shares here may differ by
    one, so nothing may wait for the other processes at every batch.
    """

    def __init__(self, videos: Any) -> None:
        self.num_replicas, self.rank = dist.get_world_size(), dist.get_rank()
        self._mine = range(self.rank, len(videos), self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(self._mine)

    def __len__(self) -> int:
        return len(self._mine)


class LabeledVideoDataset(IterableDataset[Sample]):
    """Clips of encoded videos, each video once per epoch, whatever the number of workers and processes.

    records: the videos. clip_sampler: of make_clip_sampler. video_sampler: the class (or function) that is given
    range(number of videos) and says their order: RandomSampler, SequentialSampler; with several processes
    DistributedSampler (call `dataset.video_sampler.set_epoch(epoch)`) or ExactDistributedSampler. transform: of the
    dictionary. decoder: pyav, torchcodec or auto. cache: folder of the index of frame times, default the user's.

    A sample is {video, label, video_name, video_index, clip_index}: float32 (C, T, H, W) in 0..255, RGB, all frames of
    the span, or a list of these with "random_multi"; int; the file's stem; two ints. There is no "audio": no sound is
    read.

    What is drawn follows from torch's seed, the epoch and the video, not from the number of workers; torch's generator
    is set from them around `transform`.

    Raises: FrameError naming a video that cannot be read: no other one takes its place. ConfigError with several
    processes and a sampler that does not share the videos out.
    """

    def __init__(
        self,
        records: RecordList,
        clip_sampler: ClipSampler,
        video_sampler: Callable[[Any], Iterable[int]] = RandomSampler,
        transform: Callable[[Sample], Any] | None = None,
        *,
        decoder: str = "pyav",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self._records, self.clip_sampler, self.transform = records, clip_sampler, transform
        self._read = find_reader(decoder)
        self.video_sampler = video_sampler(range(len(records)))
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if processes > 1 and not hasattr(self.video_sampler, "num_replicas"):
            raise ConfigError(
                f"video_sampler: {type(self.video_sampler).__name__} would show every video on each of {processes} "
                "processes; give torch.utils.data.DistributedSampler, for validation ExactDistributedSampler"
            )
        self._index = index_videos([records.full_path(video) for video in range(len(records))], cache=cache)

    @property
    def num_videos(self) -> int:
        """The number of videos in the list, over all processes."""
        return len(self._records)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        # all workers of a loader share what their seeds have in common, which it draws anew for every epoch
        seed = worker.seed - worker.id if worker else int(torch.empty((), dtype=torch.int64).random_())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            order = [int(video) for video in self.video_sampler]
        for video in order[worker.id :: worker.num_workers] if worker else order:
            yield from self._samples(video, np.random.default_rng([seed, video]))

    def _samples(self, video: int, rng: np.random.Generator) -> Iterator[Any]:
        path, times = Path(self._records.full_path(video)), self._index[video]
        for number, spans in enumerate(self.clip_sampler.spans(times.duration, rng)):
            clips = [self._clip(path, times, span) for span in spans]
            sample = {
                "video": clips[0] if len(clips) == 1 else clips,
                "label": int(self._records.labels[video]),
                "video_name": path.stem,
                "video_index": video,
                "clip_index": number,
            }
            if self.transform is None:
                yield sample
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(rng.integers(2**63)))
                transformed = self.transform(sample)
            yield transformed

    def _clip(self, path: Path, times: VideoTimes, span: Span) -> Tensor:
        frames = self._read(path, times, shown_during(times, span))
        return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).float()  # T,H,W,C -> C,T,H,W


def Kinetics(  # noqa: N802 - PyTorchVideo's name
    data_path: str | os.PathLike[str],
    clip_sampler: ClipSampler,
    video_sampler: Callable[[Any], Iterable[int]] = RandomSampler,
    transform: Callable[[Sample], Any] | None = None,
    video_path_prefix: str | os.PathLike[str] = "",
    decode_audio: bool = False,
    decoder: str = "pyav",
) -> LabeledVideoDataset:
    """Opens the videos of `data_path`: a list of `path label` lines, a folder of class folders, or Kinetics' CSV.

    video_path_prefix: folder in front of the paths of a list. The rest is LabeledVideoDataset's.
    Raises: ListError for a wrong list; ConfigError for decode_audio=True.
    """
    if decode_audio:
        raise ConfigError("decode_audio: no sound is read here; leave it out, samples then have no key `audio`")
    root = video_path_prefix or "."
    classes = number_classes([(data_path, root)])
    if classes is not None and classes.from_list:
        _log.warning(
            "%s: there is no classInd.txt, so its %d class names are numbered in alphabetical order; a list with other "
            "classes is numbered otherwise",
            data_path,
            len(classes.names),
        )
    records, _ = read_videos(data_path, root=root, classes=classes)
    records = as_on_disk(records)
    return LabeledVideoDataset(records, clip_sampler, video_sampler, transform, decoder=decoder)
