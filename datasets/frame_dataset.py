"""Makes a sample of a video in a list: chooses frames, reads their bytes, cuts their pixels, draws, adds the label.

`SampleDataset` is what all datasets share. `FrameDataset` reads videos that are stored as frames; the original
project's three datasets (memcached_dataset*.py) are this class with the sampling rules that belong to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from datasets.lists.records import RecordList
from datasets.protocol import ClipProtocol
from datasets.sampling.rules import SAMPLING, get_rule
from datasets.stores.disk import FrameStore, facts_of_store
from datasets.stores.flow import field_pictures
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError, FrameError
from utils.scoring.label_sets import LabelSets, mirrored
from utils.training.batch import Batch
from utils.transforms.gpu_decode import EncodedBatch, EncodedSample
from utils.transforms.image import UnreadableFrameError, headers_of_one_size

Key = int | tuple[int, int]  # index, or (epoch, index)
MOST_LOOKED_UP = 1_000_000  # videos whose dumps or packs are compared with those of a checkpoint: 7 to 13 s


class Records(Protocol):
    """A list of videos or spans of videos; `datasets.lists.records.RecordList` is one."""

    @property
    def labels(self) -> np.ndarray | LabelSets:
        """The labels: int32 (n,), from 0, -1 where the list has none; or a set of classes for each video."""
        ...

    def __len__(self) -> int: ...

    def path(self, index: int) -> str:
        """Returns the path of one record as the list has it."""
        ...

    def name(self, index: int) -> str:
        """Returns the path of one record and, behind it, the span that it is."""
        ...

    def where(self, index: int) -> str:
        """Returns `file:line` of one record and its span, for messages."""
        ...


class SampleDataset:
    """Samples of a list of videos. How the clips of one sample are read is up to the subclass (`_read`).

    records: the videos.
    protocol: what a clip is, how it is cut, how many there are, and whether they are random (for training).
    seed: of the samples' generators; each is made from (seed, epoch, index).
    flip_labels: int64 (K,), the class of a mirrored clip, where mirroring changes it.

    `dataset[(epoch, index)]` is a mapping with these entries:
        clips: (V, T, H, W, C), V = clips x crops with the crops of one clip together, T and C those of its pictures.
        label: a class, or a multi-hot row (K,).
        index: the index.
        augment: parameters that were drawn for the device, in training only.
        fault: "", or why a frame is missing or broken, with list line and file; the clips are zeros then. No other
            frame or video ever takes its place.
    A DataLoader asks for whole batches (`__getitems__`), whose clips are written where the training process reads them.
    """

    encoded = False  # whether samples have encoded frames instead of pixels
    batch_kind: ClassVar[type[EncodedBatch]] = EncodedBatch  # what decodes these

    def __init__(
        self, records: Records, protocol: ClipProtocol, *, seed: int, flip_labels: np.ndarray | None = None
    ) -> None:
        self.records, self.repeated = records, protocol.repeated
        self.clip, self.transform = protocol.clip, protocol.transform
        self.augment = protocol.augment if protocol.train else None
        self.train, self.num_clips, self.num_views = protocol.train, protocol.num_clips, protocol.num_views
        self.seed, self.flip_labels = seed, flip_labels
        self.shape = (self.num_views, self.clip.num_pictures, *self.transform.size, self.transform.channels)

    @classmethod
    def check_clip(cls, clip: ClipSpec) -> None:
        """Raises ConfigError for a clip that this dataset does not take. By default it takes every clip."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def description(self) -> str:
        """The number of videos or clips, for the log."""
        return f"{len(self)} videos"

    @property
    def usual_length(self) -> dict[str, float]:
        """The median length of its videos, in `frames` and in `seconds` as far as they are known."""
        return {}

    @property
    def labels(self) -> np.ndarray | LabelSets:
        """The truth of all samples: int (len(self),), or sets of classes."""
        return self.records.labels

    def path(self, index: int) -> str:
        """Returns the path of one sample's video as the list has it."""
        return self.records.path(index)

    def name(self, index: int) -> str:
        """Returns the path of one sample's video and, behind it, the span that it shows: `a.mp4#t=1.5,4`."""
        return self.records.name(index)

    def store_counts(self) -> dict[str, int]:
        """Returns what the frame store has counted since the start, over all workers; empty if it counts nothing."""
        return {}

    def __getitem__(self, key: Key) -> dict[str, Any]:
        with self._ahead([key]):
            return self._sample(key, None if self.encoded else np.empty(self.shape, self.transform.dtype))

    def __getitems__(self, keys: Sequence[Key], out: Tensor | None = None) -> Batch:
        """Returns a whole batch. out: memory for its clips, (N, V, T, H, W, C), instead of new memory."""
        if out is None and not self.encoded:
            out = empty_clips((len(keys), *self.shape), self.transform.dtype)
        places = [None] * len(keys) if out is None else out.numpy()
        with self._ahead(keys):
            samples = [self._sample(key, place) for key, place in zip(keys, places, strict=True)]
        if out is not None:
            return collate(samples, out)
        encoded = self.batch_kind([sample["clips"] for sample in samples], self.shape, self.transform.interpolation)
        return collate(samples, torch.empty(len(keys), 0, 0, 0, 0, 0, dtype=torch.uint8), encoded)

    def _ahead(self, keys: Sequence[Key]) -> contextlib.AbstractContextManager[object]:
        """Prepares what the samples of a batch need, and frees it when the `with` block ends. By default nothing."""
        return contextlib.nullcontext()

    def _sample(self, key: Key, out: np.ndarray | None) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = self._generator(epoch, index)
        clips = self._waiting(index) if out is None else out
        label, drawn, fault = self.labels[index], {}, ""
        try:
            flipped = self._read(index, rng, epoch, clips)
        except FrameError as error:
            flipped, fault = False, f"{self.records.where(index)}: {error}"
            clips.clear() if isinstance(clips, EncodedSample) else clips.fill(0)
        if flipped and self.flip_labels is not None:
            label = mirrored(label, self.flip_labels)
        if rng is not None and self.augment is not None:
            drawn = self.augment.draw(rng, *self.shape[:4])
        return {"clips": clips, "label": label, "index": index, "augment": drawn, "fault": fault}

    def _waiting(self, index: int) -> EncodedSample:
        """Returns the memory of one sample's encoded frames, which is still empty."""
        return EncodedSample(f"{self.records.where(index)}: {self.path(index)}")

    def _generator(self, epoch: int, index: int) -> np.random.Generator | None:
        """Returns what a training sample draws from; None in testing, where nothing is random."""
        return np.random.default_rng([self.seed, epoch, index]) if self.train else None

    def _first_of(self, epoch: int) -> int:
        """Returns the epoch in which the first of the clips that a batch has of a video chose its frames.

        All of them show these; only what is done to their pixels is each one's own (PySlowFast, VideoMAE).
        """
        return epoch - epoch % self.repeated

    def shown(self, key: Key) -> np.ndarray | None:
        """Returns the frames of its video that a sample shows, int64 (num_clips, clip.num_pictures).

        None for made-up clips.
        """
        return None

    def facts(self) -> dict[str, str]:
        """Returns what tells the files of its videos from others of the same names, without reading these.

        `sizes` and `times` are digests of those of files, `contents` one of frames, `lengths` one of how many frames
        each video has, `names` how the files of frames are called, `first_frames` a digest of the sizes of some,
        `dumped` what manifests know of their dumps. By default nothing is known.
        """
        return {}

    def seconds(self, key: Key, *, fps: float) -> np.ndarray | None:
        """Returns when in its video the frames appear that a sample shows, shaped as those of `shown`.

        fps: frames per second of a folder of frames, which does not tell; encoded videos do.
        """
        frames = self.shown(key)
        return None if frames is None else frames / fps

    def fingerprints(self, key: Key) -> list[list[bytes]]:
        """Returns what a sample's pixels are made of without decoding it: a hash of each frame of each of its clips.

        Raises: FrameError.
        """
        raise NotImplementedError

    def _read(self, index: int, rng: np.random.Generator | None, epoch: int, clips: Any) -> bool:
        """Writes the clips of one sample into `clips` (V, T, H, W, C); returns whether they are mirrored.

        Raises: FrameError.
        """
        raise NotImplementedError


class FrameDataset(SampleDataset):
    """Samples of videos that are stored as frames.

    store: where the frames are; for optical flow a FlowStore, and the records count fields.
    protocol: its clip's sampling is one of `rules`.
    encoded: whether the frames stay encoded, for the device to decode (utils/transforms/gpu_decode.py).
    The other arguments and the samples are SampleDataset's.
    """

    rules: ClassVar[frozenset[str]] = frozenset(SAMPLING)
    rules_hint: ClassVar[str] = ""
    only_num_frames: ClassVar[int | None] = None
    records: RecordList

    def __init__(
        self,
        records: RecordList,
        store: FrameStore,
        protocol: ClipProtocol,
        *,
        seed: int = 0,
        flip_labels: np.ndarray | None = None,
        encoded: bool = False,
    ) -> None:
        self.check_clip(protocol.clip)
        super().__init__(records, protocol, seed=seed, flip_labels=flip_labels)
        self.store, self.encoded = store, encoded

    @classmethod
    def check_clip(cls, clip: ClipSpec) -> None:
        """Raises ConfigError for a sampling rule or a number of frames that this dataset does not take."""
        if clip.sampling not in cls.rules:
            get_rule(clip.sampling)  # raises its own error for an unknown rule
            raise ConfigError(
                f"sampling {clip.sampling!r} does not fit; {cls.rules_hint} use {', '.join(sorted(cls.rules))}"
            )
        if cls.only_num_frames not in (None, clip.num_frames):
            raise ConfigError(f"{cls.rules_hint} its clips have {cls.only_num_frames} frame, not {clip.num_frames}")

    @property
    def usual_length(self) -> dict[str, float]:
        """The median length of its videos in `frames`, if the list says it."""
        frames = float(np.median(self.records.num_frames))
        return {"frames": frames} if frames else {}

    def store_counts(self) -> dict[str, int]:
        """Returns what the frame store has counted since the start, over all workers."""
        return self.store.stats()

    @override
    def shown(self, key: Key) -> np.ndarray:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        return self._in_video(index, self._generator(self._first_of(epoch), index))  # the first thing that it draws

    def _in_video(self, index: int, rng: np.random.Generator | None) -> np.ndarray:
        wanted, first = self.indices(index, rng), self.records.first
        return wanted if first is None else wanted + int(first[index])

    def indices(self, index: int, rng: np.random.Generator | None) -> np.ndarray:
        """Chooses the frames (or fields of optical flow) of a sample: int64 (num_clips, clip.num_pictures).

        They count from the first frame of the record, which may be a span of its video.
        """
        num_frames = max(1, int(self.records.num_frames[index]))  # lists of image files hold no count
        rule = get_rule(self.clip.sampling)
        if rng is None:
            return rule.pick(num_frames, self.clip, self.num_clips)
        return rule.draw(num_frames, self.clip, rng)[None]

    @override
    def facts(self) -> dict[str, str]:
        few = len(self.records) <= MOST_LOOKED_UP
        paths = list(dict.fromkeys(map(self.records.path, range(len(self.records))))) if few else []
        facts = facts_of_store(self.store, self.records.root, paths)
        if self.records.spans is not None:  # whose frames follow from the list and the config
            return facts
        return facts | {"lengths": hashlib.sha256(np.ascontiguousarray(self.records.num_frames).data).hexdigest()[:32]}

    @override
    def fingerprints(self, key: Key) -> list[list[bytes]]:
        wanted = self.shown(key)
        path = self.records.path(key[1] if isinstance(key, tuple) else key)
        frames = self.store.get_many(path, wanted.ravel())
        found = [hashlib.sha256(frame).digest() for frame in frames]
        clips = [found[start : start + wanted.shape[1]] for start in range(0, len(found), wanted.shape[1])]
        for number, clip in enumerate(clips):
            if headers_of_one_size(frames[number * len(clip) : (number + 1) * len(clip)]) is None:
                clips[number] = [frame + b"".join(clip) for frame in clip]  # the size of one may decide about others
        return clips

    def _read(self, index: int, rng: np.random.Generator | None, epoch: int, clips: np.ndarray | EncodedSample) -> bool:
        first = self._first_of(epoch)
        choosing = rng if first == epoch else self._generator(first, index)
        wanted, path = self._in_video(index, choosing), self.records.path(index)
        if self.clip.modality == "flow":
            wanted = np.stack([field_pictures(fields) for fields in wanted])
        frames = self.store.get_many(path, wanted.ravel())
        flipped, crops = False, self.transform.num_crops
        for number, numbers in enumerate(wanted):
            clip = frames[number * len(numbers) : (number + 1) * len(numbers)]
            try:
                if isinstance(clips, EncodedSample):
                    flipped = clips.add(clip, self.transform, rng)
                else:
                    place = clips[number * crops : (number + 1) * crops]
                    flipped = self.transform(clip, rng, place)[1]
            except UnreadableFrameError as error:
                file = self.store.frame_name(path, int(numbers[error.position]))
                raise FrameError(f"{file}: {error}") from error
        return flipped


def collate(samples: Sequence[Mapping[str, Any]], clips: Tensor, encoded: EncodedBatch | None = None) -> Batch:
    """Joins samples to a batch. clips: those of all, (N, V, T, H, W, C). encoded: what clips are decoded from."""
    labels = np.stack([sample["label"] for sample in samples])
    augment = {
        name: torch.from_numpy(np.stack([sample["augment"][name] for sample in samples]))
        for name in samples[0]["augment"]
    }
    return Batch(
        clips=clips.permute(0, 1, 5, 2, 3, 4),
        labels=torch.from_numpy(labels if labels.ndim == 2 else labels.astype(np.int64)),
        indices=torch.tensor([int(sample["index"]) for sample in samples], dtype=torch.int64),
        augment=augment,
        faults=[str(sample["fault"]) for sample in samples],
        encoded=encoded,
    )


def empty_clips(shape: Sequence[int], dtype: np.dtype, *, shared: bool | None = None) -> Tensor:
    """Returns a tensor that is not written yet. shared: in memory that processes share; None: only in a worker.

    A worker's tensors in other memory would be copied there.
    """
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    if not (torch.utils.data.get_worker_info() is not None if shared is None else shared):
        return torch.empty(*shape, dtype=kind)
    size = math.prod(shape)
    storage = torch.UntypedStorage._new_shared(size * kind.itemsize)  # as torch's own default_collate does
    return torch.empty(0, dtype=kind).set_(storage, 0, (size,), (1,)).view(*shape)
