"""Iterates over the clips of videos for a DataLoader of one's own, as PyTorchVideo's data sets do."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import IterableDataset, Sampler, get_worker_info

from datasets.labeled_videos.clip_samplers import ClipInfo, ClipInfoList, ClipSampler
from datasets.labeled_videos.videos import Video
from datasets.videos.clip_times import Span
from utils.errors import ConfigError

Sample = dict[str, Any]
Transform = Callable[[Sample], Any]
VideoSampler = Callable[[Any], Iterable[int]]


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


class ClipDataset(IterableDataset[Sample]):
    """Clips of videos, each video once per epoch, whatever the number of workers and processes.

    clip_sampler: chooses the clips. video_sampler: the class (or function) that is given range(number of videos) and
    says their order: RandomSampler, SequentialSampler; with several processes DistributedSampler (call
    `dataset.video_sampler.set_epoch(epoch)`, which persistent workers do not see) or ExactDistributedSampler.
    transform: of the dictionary; a clip for which it returns None is left out.

    A sample is {video, video_name, video_index, clip_index, aug_index, and the entries of its video}. The clip is
    float32 (C, T, H, W) in 0..255, RGB, with all frames of its seconds. Where one sample has several clips
    ("random_multi"), `video`, `clip_index` and `aug_index` are lists. There is no "audio": no sound is read.

    What is drawn follows from torch's seed, the epoch and the video, not from the number of workers, if there are any;
    torch's generator is set from them around `clip_sampler` and `transform`.

    Raises: FrameError naming a video that cannot be read: no other one takes its place. ConfigError with several
    processes and a sampler that does not share the videos out.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        clip_sampler: ClipSampler,
        video_sampler: VideoSampler,
        transform: Transform | None,
    ) -> None:
        self._videos, self.clip_sampler, self.transform = videos, clip_sampler, transform
        self.video_sampler = video_sampler(range(len(videos)))
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if processes > 1 and not hasattr(self.video_sampler, "num_replicas"):
            raise ConfigError(
                f"video_sampler: {type(self.video_sampler).__name__} would show every video on each of {processes} "
                "processes; give torch.utils.data.DistributedSampler, for validation ExactDistributedSampler"
            )
        self._running: Iterator[Any] | None = None
        self._begun = 0  # epochs that this worker has begun

    @property
    def num_videos(self) -> int:
        """The number of videos in the list, over all processes."""
        return len(self._videos)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is None:
            self._running = self._epoch(int(torch.empty((), dtype=torch.int64).random_()), 0)
        else:
            # all workers of a loader share what their seeds have in common; persistent ones keep it in all epochs
            self._running = self._epoch(worker.seed - worker.id, self._begun)
            self._begun += 1
        return self._running

    def __next__(self) -> Any:
        """Returns the next clip of the epoch that runs; `iter(dataset)` begins a new one."""
        return next(iter(self) if self._running is None else self._running)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_running": None}  # a worker begins an epoch of its own

    def _epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        worker = get_worker_info()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + epoch)
            order = [int(video) for video in self.video_sampler]
        for video in order[worker.id :: worker.num_workers] if worker else order:
            yield from self._samples(video, np.random.default_rng([seed, video, epoch]))

    def _samples(self, place: int, rng: np.random.Generator) -> Iterator[Any]:
        video, sampler = self._videos[place], copy.deepcopy(self.clip_sampler)
        sampler.reset()
        info, clips = None, _Clips(video)
        while info is None or not _is_last(info):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(rng.integers(2**63)))
                info = sampler(None if info is None else info.clip_end_sec, video.duration, video.entries)  # type: ignore[arg-type]
                sample = {
                    **clips.at(info),
                    "video_name": video.name,
                    "video_index": place,
                    "clip_index": info.clip_index,
                    "aug_index": info.aug_index,
                    **video.entries,
                }
                transformed = sample if self.transform is None else self.transform(sample)
            if transformed is not None:
                yield transformed


def _is_last(info: ClipInfo | ClipInfoList) -> bool:
    return info.is_last_clip[-1] if isinstance(info.is_last_clip, list) else info.is_last_clip


class _Clips:
    """Reads clips of one video; the repetitions of a clip are decoded once."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._last: tuple[Span, np.ndarray, list[np.ndarray]] | None = None

    def at(self, info: ClipInfo | ClipInfoList) -> Sample:
        """Returns `video` and what depends on the frames of the clip, or lists of these."""
        if not isinstance(info.clip_start_sec, list):
            return self._clip(info.clip_start_sec, info.clip_end_sec)
        spans = zip(info.clip_start_sec, info.clip_end_sec, strict=True)
        clips = [self._clip(start, end) for start, end in spans]
        return {key: [clip[key] for clip in clips] for key in clips[0]}

    def _clip(self, start: Any, end: Any) -> Sample:
        span = float(start), float(end)
        if self._last is None or self._last[0] != span:
            frames = self._video.shown(span)
            self._last = span, frames, self._video.read(frames)
        _, frames, pictures = self._last
        return {"video": _as_tensor(pictures), **self._video.about(frames)}


def _as_tensor(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2).float()  # T,H,W,C -> C,T,H,W
