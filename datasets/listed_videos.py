"""Opens the videos of a list from their first frame to their last, encoded or kept as frames, each by its number.

A list may name a video in several lines; here it counts once, in the order of the first of them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from typing_extensions import override

from datasets.lists.records import RecordList
from datasets.places.files import versioned
from datasets.stores.disk import FrameStore, facts_of_store
from datasets.stores.spans import lengths_and_times
from datasets.videos.index import VideoIndex, facts_of, identity, index_videos, where
from datasets.videos.video import TimedFrame, Video
from utils.errors import FrameError, ListError
from utils.transforms.image import MAX_PIXELS, decode_image

FRAMES_AT_ONCE = 64  # that are read together


@dataclass(frozen=True)
class OpenVideo:
    """Holds a video that is being read.

    name: for messages. num_frames, fps: of all of it.
    frames: each frame with its time. errors: what is wrong with them, complete when all have been read.
    """

    name: str
    num_frames: int
    fps: float
    frames: Iterable[TimedFrame]
    errors: list[str] = field(default_factory=list)


class ListedVideos(ABC):
    """The n videos of a list; all numbers are from 0 to n - 1.

    description: what they are, for the log.
    """

    description: str

    @abstractmethod
    def name(self, number: int) -> str:
        """Returns what messages call a video."""

    @abstractmethod
    def version(self, number: int) -> bytes:
        """Returns what tells the frames of a video and their times from all others. Raises: FrameError."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Returns what tells all of them from others of the same names, as SampleDataset.facts has it."""

    @abstractmethod
    def moments(self, number: int) -> np.ndarray:
        """Returns the seconds at which each frame begins and the last one ends, float64 (frames + 1,).

        Raises: FrameError.
        """

    @abstractmethod
    def open(self, number: int) -> OpenVideo:
        """Opens a video. Raises: FrameError, also while its frames are read."""


def first_rows(records: RecordList) -> dict[str, int]:
    """Returns the paths of the different videos of a list, each with its first record."""
    first: dict[str, int] = {}
    for row in range(len(records)):
        first.setdefault(records.path(row), row)
    return first


class EncodedVideos(ListedVideos):
    """Opens video files. A file is known by its name, size and time.

    cache: folder of the index of videos, which knows the times of frames; by default the user's cache folder.
    """

    description = "encoded videos"

    def __init__(self, records: RecordList, *, cache: str | None = None) -> None:
        self._paths = [records.full_path(row) for row in first_rows(records).values()]
        self._cache, self._where = cache, where(records.root)

    @cached_property
    def _versioned(self) -> list[str]:
        return versioned(self._paths)

    @cached_property
    def _index(self) -> VideoIndex:
        return index_videos(self._versioned, cache=self._cache)

    @override
    def name(self, number: int) -> str:
        return self._paths[number]

    @override
    def version(self, number: int) -> bytes:
        return identity(self._versioned[number])

    @override
    def facts(self) -> dict[str, str]:
        return facts_of(self._versioned) | {"root": self._where}

    @override
    def moments(self, number: int) -> np.ndarray:
        times = self._index[number]
        return np.append(times.clock, times.begins + times.duration)

    @override
    def open(self, number: int) -> OpenVideo:
        name = self._paths[number]
        video = Video(name)
        count, fps = max(1, len(video.info.times)), video.info.fps or 25.0
        return OpenVideo(name, count, fps, video.frames(), video.errors)


class StoredVideos(ListedVideos):
    """Reads videos that are kept as frames. A video is known by the bytes of its frames.

    description: of the store. fps: frames per second of videos that are in no manifest of a dump.
    max_pixels: height x width that a frame may have.

    whole: the list with all frames of the video of each record.

    Raises: ListError for a video of unknown length or rate.
    """

    def __init__(
        self,
        records: RecordList,
        store: FrameStore,
        description: str,
        *,
        fps: float | None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        first = first_rows(records)
        self._paths, self._store, self._max_pixels, self.description = list(first), store, max_pixels, description
        lengths, rates, begins, videos = lengths_and_times(records, store, fps)
        for path, length, rate in zip(self._paths, lengths.tolist(), rates.tolist(), strict=True):
            where = records.where(first[path])
            if length <= 0:
                raise ListError(
                    f"{where}: {path!r} has no frames that could be counted, below {records.root}; check train_root / "
                    "val_root, or dump the video"
                )
            if not rate > 0:
                raise ListError(
                    f"{where}: nothing says how many frames a second {path!r} has, as no manifest.jsonl of a dump in "
                    f"{records.root} or above it has it; set data.fps"
                )
        self._root, self._lengths, self._rates, self._begins = records.root, lengths, rates, begins
        self.whole = records.with_frames(np.zeros(len(records), np.int32), lengths[videos].astype(np.int32))

    @override
    def name(self, number: int) -> str:
        return self._paths[number]

    @override
    def version(self, number: int) -> bytes:
        digest = hashlib.sha256(f"{self._rates[number]} {self._begins[number]}".encode())
        for data in self._encoded(number):
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.digest()

    @override
    def facts(self) -> dict[str, str]:
        return facts_of_store(self._store, self._root, self._paths)

    @override
    def moments(self, number: int) -> np.ndarray:
        return self._begins[number] + np.arange(self._lengths[number] + 1) / self._rates[number]

    @override
    def open(self, number: int) -> OpenVideo:
        length, rate = int(self._lengths[number]), float(self._rates[number])
        return OpenVideo(self._paths[number], length, rate, self._frames(number))

    def _frames(self, number: int) -> Iterator[TimedFrame]:
        for index, (moment, data) in enumerate(zip(self.moments(number), self._encoded(number), strict=False)):
            try:
                yield float(moment), decode_image(data, max_pixels=self._max_pixels)
            except ValueError as error:
                raise FrameError(f"{self._store.frame_name(self._paths[number], index)}: {error}") from error

    def _encoded(self, number: int) -> Iterator[bytes]:
        length = int(self._lengths[number])
        for first in range(0, length, FRAMES_AT_ONCE):
            yield from self._store.get_many(self._paths[number], range(first, min(first + FRAMES_AT_ONCE, length)))
