"""One video -> one sample: indices by a rule, frames from a store, pixels by a transform, all from one generator.

The seed's three datasets (memcached_dataset*.py) are this class with the rules that belong to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from datasets.frame_store import FrameStore
from datasets.records import RecordList
from datasets.sampling import SAMPLING, get_rule
from utils.clip import ClipSpec
from utils.decode import UnreadableFrameError
from utils.errors import ConfigError, FrameError

Key = int | tuple[int, int]  # index, or (epoch, index)


class ClipTransform(Protocol):
    """Encoded frames of one clip -> pixels; `utils.transforms.Spatial` is one."""

    size: tuple[int, int]
    dtype: np.dtype[Any]
    num_crops: int

    def __call__(self, frames: Sequence[bytes], rng: np.random.Generator | None = None) -> tuple[np.ndarray, bool]:
        """(num_crops, T, H, W, 3) and whether the clip was mirrored."""
        ...


class AugmentDraw(Protocol):
    """Draws what the device will do to a clip; `utils.augment` has one."""

    def draw(
        self, rng: np.random.Generator, views: int, num_frames: int, height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Parameters of one sample's views, the same names and shapes every time."""
        ...


class FrameDataset:
    """Videos stored as frames.

    records: which videos. store: where their frames are. clip: T, stride and rule. spatial: decodes, cuts and flips one
    clip. augment: draws parameters for the device, training only. train: one random clip per video, else `num_clips`
    fixed ones (default: what the rule's own protocol tests with) and no generator at all. seed: of the samples'
    generators. flip_labels: int64 (K,), the class of a mirrored clip, where mirroring changes it.

    `dataset[(epoch, index)]` is a mapping for `utils.batch.collate`: clips (V, T, H, W, 3), V = clips x crops with the
    crops of one clip together; label; index; augment; fault. A frame that is missing or broken makes a fault that names
    list line and file, with clips of zeros: no other frame or video ever takes its place.
    """

    rules: ClassVar[frozenset[str]] = frozenset(SAMPLING)
    rules_hint: ClassVar[str] = ""
    only_num_frames: ClassVar[int | None] = None

    def __init__(
        self,
        records: RecordList,
        store: FrameStore,
        *,
        clip: ClipSpec,
        spatial: ClipTransform,
        augment: AugmentDraw | None = None,
        train: bool = True,
        num_clips: int | None = None,
        seed: int = 0,
        flip_labels: np.ndarray | None = None,
    ) -> None:
        if clip.sampling not in self.rules:
            get_rule(clip.sampling)  # a name that no dataset knows has its own message
            raise ConfigError(
                f"sampling {clip.sampling!r} does not fit; {self.rules_hint} use {', '.join(sorted(self.rules))}"
            )
        if self.only_num_frames not in (None, clip.num_frames):
            raise ConfigError(f"{self.rules_hint} its clips have {self.only_num_frames} frame, not {clip.num_frames}")
        rule = get_rule(clip.sampling)
        self.num_clips = 1 if train else (rule.num_clips if num_clips is None else num_clips)
        rule.check(clip.sampling, clip.frame_stride, rule.num_clips if train else self.num_clips)
        self.records = records
        self.store = store
        self.clip = clip
        self.spatial = spatial
        self.augment = augment if train else None
        self.train = train
        self.seed = seed
        self.flip_labels = flip_labels

    def __len__(self) -> int:
        return len(self.records)

    @property
    def num_views(self) -> int:
        """V: temporal clips x spatial crops."""
        return self.num_clips * self.spatial.num_crops

    def indices(self, index: int, rng: np.random.Generator | None) -> np.ndarray:
        """The frames of one sample, int64 (num_clips, T), 0-based."""
        num_frames = max(1, int(self.records.num_frames[index]))  # lists of image files hold no count
        rule = get_rule(self.clip.sampling)
        if rng is None:
            return rule.test(num_frames, self.clip.num_frames, self.clip.frame_stride, self.num_clips)
        return rule.train(num_frames, self.clip.num_frames, self.clip.frame_stride, rng)[None]

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng([self.seed, epoch, index]) if self.train else None
        label, fault = int(self.records.labels[index]), ""
        try:
            clips, flipped = self._read(index, rng)
        except FrameError as error:
            fault, flipped = f"{self.records.where(index)}: {error}", False
            shape = (self.num_views, self.clip.num_frames, *self.spatial.size, 3)
            clips = np.zeros(shape, self.spatial.dtype)
        if flipped and self.flip_labels is not None and label >= 0:
            label = int(self.flip_labels[label])
        return {
            "clips": clips,
            "label": label,
            "index": index,
            "augment": self._draw(rng),
            "fault": fault,
        }

    def _read(self, index: int, rng: np.random.Generator | None) -> tuple[np.ndarray, bool]:
        path, wanted = self.records.path(index), self.indices(index, rng)
        frames = self.store.get_many(path, wanted.ravel())
        views, flipped = [], False
        for number, clip in enumerate(wanted):
            try:
                view, flipped = self.spatial(frames[number * len(clip) : (number + 1) * len(clip)], rng)
            except UnreadableFrameError as error:
                file = self.store.frame_name(path, int(clip[error.position]))
                raise FrameError(f"{file}: {error}") from error
            views.append(view)
        return views[0] if len(views) == 1 else np.concatenate(views), flipped

    def _draw(self, rng: np.random.Generator | None) -> Mapping[str, np.ndarray]:
        if rng is None or self.augment is None:
            return {}
        return self.augment.draw(rng, self.num_views, self.clip.num_frames, *self.spatial.size)
