"""Decodes once what samples share: those of one batch that show the same file are read in one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from datasets.places.place import Place
from datasets.videos.scan import VideoTimes
from utils.errors import FrameError

Picture = TypeVar("Picture")
MOST_BYTES = 2**28  # of the pictures of one pass, which are all kept until its last sample has taken its own


class TogetherReader(Generic[Picture]):
    """Reads as `reader` does, to the bit, for samples that are known beforehand.

    A file that is damaged somewhere is read for each sample alone: those that do not show the damage stay whole.

    asked: the file of each sample in the order in which they will be read, its times, and the frames that it shows.
    """

    def __init__(
        self,
        reader: Callable[[Place, VideoTimes, np.ndarray], list[Picture]],
        asked: Iterable[tuple[Place, VideoTimes, np.ndarray]],
    ) -> None:
        self._reader = reader
        self._passes: dict[Place, list[_Pass[Picture]]] = {}
        for path, times, indices in asked:
            passes, wanted = self._passes.setdefault(path, []), set(indices.ravel().tolist())
            most = MOST_BYTES // max(1, 3 * times.size[0] * times.size[1])
            if passes and len(passes[-1].wanted | wanted) <= most:
                passes[-1].wanted |= wanted
                passes[-1].samples += 1
            else:
                passes.append(_Pass(wanted))

    def __call__(self, path: Place, times: VideoTimes, indices: np.ndarray) -> list[Picture]:
        """Returns the frames of one sample, uint8 (H, W, 3) RGB, which others may share. Raises: FrameError."""
        passes, wanted = self._passes.get(path, []), indices.ravel().tolist()
        shared = next((one for one in passes if one.wanted.issuperset(wanted)), None)
        if shared is None:
            return self._reader(path, times, indices)
        shared.samples -= 1
        if not shared.samples:
            passes.remove(shared)
        if shared.pictures is None:
            if not shared.samples:  # of the only one
                return self._reader(path, times, indices)
            every = np.array(sorted(shared.wanted))
            try:
                shared.pictures = dict(zip(every.tolist(), self._reader(path, times, every), strict=True))
            except FrameError:
                del self._passes[path]
                return self._reader(path, times, indices)
        return [shared.pictures[index] for index in wanted]


@dataclass(eq=False)
class _Pass(Generic[Picture]):
    """Holds what one pass over a file gives: which frames, for how many samples still, and their pictures once read."""

    wanted: set[int]
    samples: int = 1
    pictures: dict[int, Picture] | None = None
