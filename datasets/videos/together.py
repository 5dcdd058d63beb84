"""Decodes once what clips share: those of one batch that show the same file are read in one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from datasets.places.place import Place
from datasets.videos.scan import VideoTimes
from utils.errors import FrameError

Picture = TypeVar("Picture")
MOST_BYTES = 2**28  # of pictures of passes, all of which are kept until the last clip of the pass has taken its own


class TogetherReader(Generic[Picture]):
    """Reads as `reader` does, to the bit, for clips that are known beforehand.

    A file that is damaged somewhere is read for each clip alone: those that do not show the damage stay whole. So is
    one whose pictures have no place beside those that are kept of other files.

    asked: the file of each clip in the order in which they will be read, its times, and the frames that it shows.
    """

    def __init__(
        self,
        reader: Callable[[Place, VideoTimes, np.ndarray], list[Picture]],
        asked: Iterable[tuple[Place, VideoTimes, np.ndarray]],
    ) -> None:
        self._reader = reader
        self._passes: dict[Place, list[_Pass[Picture]]] = {}
        self._kept = 0  # bytes
        for path, times, indices in asked:
            passes, wanted = self._passes.setdefault(path, []), set(indices.ravel().tolist())
            bytes_each = 3 * times.size[0] * times.size[1]
            fits = bool(passes) and len(passes[-1].wanted | wanted) * bytes_each <= MOST_BYTES
            if passes and (fits or not times.seekable):  # a second pass would decode from the start again
                passes[-1].wanted |= wanted
                passes[-1].clips += 1
            else:
                passes.append(_Pass(wanted))

    def __call__(self, path: Place, times: VideoTimes, indices: np.ndarray) -> list[Picture]:
        """Returns the frames of one clip, uint8 (H, W, 3) RGB, which others may share. Raises: FrameError."""
        passes, wanted = self._passes.get(path, []), indices.ravel().tolist()
        shared = next((one for one in passes if one.wanted.issuperset(wanted)), None)
        if shared is None:
            return self._reader(path, times, indices)
        size = 3 * times.size[0] * times.size[1] * len(shared.wanted)
        shared.clips -= 1
        if not shared.clips:
            passes.remove(shared)
            self._kept -= size if shared.pictures is not None else 0
        if shared.pictures is None:
            if not shared.clips:  # of the only one
                return self._reader(path, times, indices)
            if self._kept and self._kept + size > MOST_BYTES:
                passes.remove(shared)
                return self._reader(path, times, indices)
            every = np.array(sorted(shared.wanted))
            try:
                shared.pictures = dict(zip(every.tolist(), self._reader(path, times, every), strict=True))
            except FrameError:
                del self._passes[path]
                return self._reader(path, times, indices)
            self._kept += size
        return [shared.pictures[index] for index in wanted]


@dataclass(eq=False)
class _Pass(Generic[Picture]):
    """Holds what one pass over a file gives: which frames, for how many clips still, and their pictures once read."""

    wanted: set[int]
    clips: int = 1
    pictures: dict[int, Picture] | None = None
