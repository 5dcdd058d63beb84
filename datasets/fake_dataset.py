"""Makes noise in the shape of a dataset (`--fake`), to time a model or to try a machine without any videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.frame_dataset import SampleDataset
from datasets.protocol import ClipProtocol
from utils.scoring.label_sets import LabelSets


@dataclass(frozen=True)
class _FakeRecords:
    """A list of videos that do not exist."""

    labels: np.ndarray | LabelSets

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> str:
        return f"fake_{index}"

    name = where = path


class FakeDataset(SampleDataset):
    """A video of noise for each of `labels`; the same (seed, epoch, index) always gives the same pixels."""

    def __init__(self, labels: np.ndarray | LabelSets, protocol: ClipProtocol, *, seed: int = 0) -> None:
        super().__init__(_FakeRecords(labels), protocol, seed=seed)

    def _read(self, index: int, rng: np.random.Generator | None, epoch: int, clips: np.ndarray) -> bool:
        rng = np.random.default_rng([self.seed, 0, index]) if rng is None else rng
        clips[...] = np.frombuffer(rng.bytes(clips.size), np.uint8).reshape(clips.shape)
        return False
