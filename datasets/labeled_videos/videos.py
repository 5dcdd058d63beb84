"""Holds videos that clips are taken from: encoded ones and folders or lists of pictures."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from datasets.stores.frame_names import IMAGE_SUFFIXES
from datasets.videos.clip_times import Span
from datasets.videos.index import VideoIndex
from datasets.videos.reader import Reader
from datasets.videos.shown import shown_during
from utils.errors import FrameError
from utils.transforms.image import decode_image

FPS = 30  # the rate that PyTorchVideo gives to pictures
Pick = Callable[[np.ndarray], np.ndarray]


class Video(ABC):
    """Holds one video: its name and `entries`, which are its label and what else a sample shall say about it."""

    name: str
    entries: Mapping[str, Any]

    @property
    @abstractmethod
    def duration(self) -> float | Fraction:
        """The length in seconds. Raises: FrameError for a video that cannot be read."""

    @abstractmethod
    def shown(self, span: Span) -> np.ndarray:
        """Returns the frames that are shown in these seconds, at least one, int64, from 0."""

    @abstractmethod
    def read(self, frames: np.ndarray) -> list[np.ndarray]:
        """Returns frames, uint8 (H, W, 3) RGB. Raises: FrameError."""

    def about(self, frames: np.ndarray) -> dict[str, Any]:
        """Returns entries that depend on the frames of a clip."""
        return {}


class EncodedVideo(Video):
    """Decodes frames of a file; `place` is its place in the index of frame times."""

    def __init__(self, path: str, index: VideoIndex, place: int, reader: Reader, entries: Mapping[str, Any]) -> None:
        self.name, self.entries = Path(path).name, entries
        self._path, self._index, self._place, self._reader = Path(path), index, place, reader

    @property
    @override
    def duration(self) -> float:
        return self._index[self._place].duration

    @override
    def shown(self, span: Span) -> np.ndarray:
        return shown_during(self._index[self._place], span)

    @override
    def read(self, frames: np.ndarray) -> list[np.ndarray]:
        return self._reader(self._path, self._index[self._place], frames)


class PictureVideo(Video):
    """Reads pictures at 30 per second. pick: which frames of a clip are taken; None for all."""

    def __init__(
        self, name: str, pictures: Sequence[str], entries: Mapping[str, Any], pick: Pick | None = None
    ) -> None:
        self.name, self.entries = name, entries
        self._pictures, self._pick = pictures, pick

    @property
    @override
    def duration(self) -> Fraction:
        return Fraction(len(self._pictures), FPS)

    @override
    def shown(self, span: Span) -> np.ndarray:
        first, end = (min(math.ceil(round(time * FPS, 6)), len(self._pictures)) for time in span)
        first = min(first, len(self._pictures) - 1)
        frames = np.arange(first, max(end, first + 1))
        return frames if self._pick is None else frames[self._pick(frames)]

    @override
    def read(self, frames: np.ndarray) -> list[np.ndarray]:
        return [_read(self._pictures[frame]) for frame in frames.tolist()]


def pictures_of(folder: str | os.PathLike[str]) -> list[str]:
    """Returns the pictures of a folder, numbers in their names in the order of their values. Raises: FrameError."""
    found = [path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise FrameError(f"{folder}: has no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return [str(path) for path in sorted(found, key=lambda path: _natural(path.name))]


def _natural(name: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", name)]


def _read(path: str) -> np.ndarray:
    try:
        return decode_image(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise FrameError(f"{path}: cannot be read as a picture: {error}") from error
