"""What one sample is, wherever its pixels come from: the generator, the label, the fault, the drawn parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from utils.clip_spec import ClipSpec
from utils.errors import FrameError
from utils.scoring.label_sets import LabelSets, mirrored
from utils.training.batch import Batch, collate

Key = int | tuple[int, int]  # index, or (epoch, index)


class ClipTransform(Protocol):
    """Encoded frames of one clip -> pixels (`utils.transforms.cut_clip.CutClip`), or what becomes pixels on the device
    (`utils.transforms.gpu_decode.CutEncodedClip`).
    """

    size: tuple[int, int]
    num_crops: int

    def room(self, *leading: int) -> Tensor | None:
        """Memory for clips, (*leading, H, W, C); None where the device makes the pixels."""
        ...

    def __call__(
        self, frames: Sequence[bytes], rng: np.random.Generator | None = None, out: np.ndarray | None = None
    ) -> tuple[Any, bool]:
        """(num_crops, T, H, W, C), in `out` if it is given, and whether the clip was mirrored."""
        ...

    def join(self, views: Sequence[Any], where: str, out: np.ndarray | None) -> Any:
        """The clips of one sample together; `where` names it in messages."""
        ...

    def blank(self, num_views: int, num_frames: int, out: np.ndarray | None) -> Any:
        """In place of the clips of a sample that cannot be read."""
        ...

    def apply(
        self,
        frames: np.ndarray | Sequence[np.ndarray],
        rng: np.random.Generator | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, bool]:
        """The same from frames that are decoded."""
        ...


class AugmentDraw(Protocol):
    """Draws what the device will do to a clip; `utils.transforms.augment` has one."""

    def draw(
        self, rng: np.random.Generator, views: int, num_frames: int, height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Parameters of one sample's views, the same names and shapes every time."""
        ...


class Records(Protocol):
    """A list of videos; `datasets.lists.records.RecordList` is one."""

    @property
    def labels(self) -> np.ndarray | LabelSets:
        """int32 (n,), from 0, -1 where the list has none; or a set of classes for each."""
        ...

    def __len__(self) -> int: ...

    def path(self, index: int) -> str:
        """The path of one record as the list has it."""
        ...

    def where(self, index: int) -> str:
        """`file:line` of one record, for messages."""
        ...


class SampleDataset:
    """What the data sets of videos share; how the clips of one are read is theirs (`_read`).

    records: which videos. clip: T, stride and rule. transform: decodes, cuts and flips one clip. augment: draws
    parameters for the device, training only. train: random clips; else fixed ones, and no generator at all. num_clips:
    in time, of one sample. seed: of the samples' generators. flip_labels: int64 (K,), the class of a mirrored clip,
    where mirroring changes it.

    `dataset[(epoch, index)]` is a mapping for `utils.training.batch.collate`: clips (V, T, H, W, C), V = clips x crops with the
    crops of one clip together, T and C those of the clip's pictures; label, a class or a multi-hot row (K,); index;
    augment; fault. A frame that is missing or broken makes a fault that names list line and file, with clips of zeros:
    no other frame or video ever takes its place. A DataLoader asks for whole batches (`__getitems__`), whose clips are
    written where the training process reads them: in `room`, if it is given.
    """

    def __init__(
        self,
        records: Records,
        *,
        clip: ClipSpec,
        transform: ClipTransform,
        augment: AugmentDraw | None,
        train: bool,
        num_clips: int,
        seed: int,
        flip_labels: np.ndarray | None,
    ) -> None:
        self.records = records
        self.clip = clip
        self.transform = transform
        self.augment = augment if train else None
        self.train = train
        self.num_clips = num_clips
        self.seed = seed
        self.flip_labels = flip_labels

    @classmethod
    def check_clip(cls, clip: ClipSpec) -> None:
        """Raises: ConfigError for a clip that this dataset does not take. By default it takes every clip."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def num_views(self) -> int:
        """V: temporal clips x spatial crops."""
        return self.num_clips * self.transform.num_crops

    def __getitem__(self, key: Key) -> dict[str, Any]:
        room = self.transform.room(self.num_views, self.clip.num_pictures)
        return self._sample(key, None if room is None else room.numpy())

    def room(self, num_records: int) -> Tensor | None:
        """Memory for the clips of so many records, (N, V, T, H, W, C); None where the device makes them."""
        return self.transform.room(num_records, self.num_views, self.clip.num_pictures)

    def __getitems__(self, keys: Sequence[Key], room: Tensor | None = None) -> Batch:
        room = self.room(len(keys)) if room is None else room
        places = [None] * len(keys) if room is None else room.numpy()
        return collate([self._sample(key, place) for key, place in zip(keys, places, strict=True)], room)

    def _sample(self, key: Key, out: np.ndarray | None) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng([self.seed, epoch, index]) if self.train else None
        label, fault = self.records.labels[index], ""
        try:
            clips, flipped = self._read(index, rng, epoch, out)
        except FrameError as error:
            fault, flipped = f"{self.records.where(index)}: {error}", False
            clips = self.transform.blank(self.num_views, self.clip.num_pictures, out)
        if flipped and self.flip_labels is not None:
            label = mirrored(label, self.flip_labels)
        return {
            "clips": clips,
            "label": label,
            "index": index,
            "augment": self._draw(rng),
            "fault": fault,
        }

    def _read(
        self, index: int, rng: np.random.Generator | None, epoch: int, out: np.ndarray | None
    ) -> tuple[Any, bool]:
        """Clips (V, T, H, W, C) of one sample, in `out` if there is room, and whether they are mirrored.

        Raises FrameError.
        """
        raise NotImplementedError

    def _views(self, out: np.ndarray | None) -> Sequence[np.ndarray | None]:
        """The places of a sample's clips in time, (num_crops, T, H, W, C) each."""
        if out is None:
            return [None] * self.num_clips
        step = self.transform.num_crops
        return [out[start : start + step] for start in range(0, len(out), step)]

    def _draw(self, rng: np.random.Generator | None) -> Mapping[str, np.ndarray]:
        if rng is None or self.augment is None:
            return {}
        return self.augment.draw(rng, self.num_views, self.clip.num_pictures, *self.transform.size)
