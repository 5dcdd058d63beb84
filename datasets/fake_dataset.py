"""Noise in the shape of a data set (the seed's `--fake`): to time a model, or to try a machine without any videos."""

from __future__ import annotations

from typing import Any

import numpy as np

from datasets.sample import AugmentDraw, Key
from utils.clip_spec import ClipSpec
from utils.scoring.label_sets import LabelSets


class FakeDataset:
    """A video of noise for each of `labels`; the same (seed, epoch, index) always gives the same pixels.

    size: (height, width) of the clips. The other arguments are those of FrameDataset.
    """

    def __init__(
        self,
        labels: np.ndarray | LabelSets,
        *,
        clip: ClipSpec,
        size: tuple[int, int],
        num_crops: int = 1,
        augment: AugmentDraw | None = None,
        train: bool = True,
        num_clips: int | None = None,
        seed: int = 0,
    ) -> None:
        self.labels = labels
        self.clip, self.size = clip, size
        self.augment = augment if train else None
        self.train, self.seed = train, seed
        self.num_clips = 1 if train or num_clips is None else num_clips
        self.num_views = num_crops * self.num_clips

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng([self.seed, epoch if self.train else 0, index])
        shape = (self.num_views, self.clip.num_pictures, *self.size, self.clip.channels)
        clips = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
        augment = (
            {} if self.augment is None else self.augment.draw(rng, self.num_views, self.clip.num_pictures, *self.size)
        )
        return {
            "clips": clips,
            "label": self.labels[index],
            "index": index,
            "augment": augment,
            "fault": "",
        }
