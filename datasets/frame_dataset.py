"""Videos stored as frames -> samples: indices by a rule, frames from a store.

The seed's three datasets (memcached_dataset*.py) are this class with the rules that belong to them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from datasets.lists.records import RecordList
from datasets.sample import AugmentDraw, ClipTransform, SampleDataset
from datasets.sampling.rules import SAMPLING, get_rule
from datasets.stores.disk import FrameStore
from datasets.stores.flow import field_pictures
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError, FrameError
from utils.transforms.decode import UnreadableFrameError


class FrameDataset(SampleDataset):
    """Videos stored as frames.

    store: where they are; for optical flow a FlowStore, and the records count fields. clip.sampling: one of `rules`.
    train: one random clip per video, else `num_clips` fixed ones, by default what the rule's own protocol tests with.
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
        *,
        clip: ClipSpec,
        transform: ClipTransform,
        augment: AugmentDraw | None = None,
        train: bool = True,
        num_clips: int | None = None,
        seed: int = 0,
        flip_labels: np.ndarray | None = None,
    ) -> None:
        self.check_clip(clip)
        rule = get_rule(clip.sampling)
        num_clips = 1 if train else (rule.num_clips if num_clips is None else num_clips)
        rule.check(clip.sampling, clip.frame_stride, rule.num_clips if train else num_clips)
        super().__init__(
            records,
            clip=clip,
            transform=transform,
            augment=augment,
            train=train,
            num_clips=num_clips,
            seed=seed,
            flip_labels=flip_labels,
        )
        self.store = store

    @classmethod
    def check_clip(cls, clip: ClipSpec) -> None:
        """Raises: ConfigError for a sampling rule or a number of frames that this dataset does not take."""
        if clip.sampling not in cls.rules:
            get_rule(clip.sampling)  # raises its own error for an unknown rule
            raise ConfigError(
                f"sampling {clip.sampling!r} does not fit; {cls.rules_hint} use {', '.join(sorted(cls.rules))}"
            )
        if cls.only_num_frames not in (None, clip.num_frames):
            raise ConfigError(f"{cls.rules_hint} its clips have {cls.only_num_frames} frame, not {clip.num_frames}")

    def indices(self, index: int, rng: np.random.Generator | None) -> np.ndarray:
        """The frames, or fields of optical flow, of one sample, int64 (num_clips, clip.num_pictures), 0-based."""
        num_frames = max(1, int(self.records.num_frames[index]))  # lists of image files hold no count
        rule = get_rule(self.clip.sampling)
        if rng is None:
            return rule.pick(num_frames, self.clip, self.num_clips)
        return rule.draw(num_frames, self.clip, rng)[None]

    def _read(
        self, index: int, rng: np.random.Generator | None, epoch: int, out: np.ndarray | None
    ) -> tuple[Any, bool]:
        path, wanted = self.records.path(index), self.indices(index, rng)
        if self.clip.modality == "flow":
            wanted = np.stack([field_pictures(fields) for fields in wanted])
        frames = self.store.get_many(path, wanted.ravel())
        views, flipped = [], False
        for number, (clip, place) in enumerate(zip(wanted, self._views(out), strict=True)):
            try:
                view, flipped = self.transform(frames[number * len(clip) : (number + 1) * len(clip)], rng, place)
            except UnreadableFrameError as error:
                file = self.store.frame_name(path, int(clip[error.position]))
                raise FrameError(f"{file}: {error}") from error
            views.append(view)
        return self.transform.join(views, f"{self.records.where(index)}: {path}", out), flipped
