"""Keeps the times of the videos in a tar in a file beside it, so that nobody scans them: train-0.tar, train-0.times.

tools/pack_videos.py writes both. A video is found by where it lies in the tar; a tar of another size is another tar.
"""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.places.files import exists, local_copy, member_extent
from datasets.places.place import Address, Place, place
from datasets.videos.scan import VideoTimes
from datasets.videos.scanned import pack, unpack
from utils.errors import FrameError
from utils.flat_file import is_offsets, open_arrays, save_arrays

SUFFIX = ".times"
_FORMAT = 1
_OPEN = 256  # tars
_log = logging.getLogger(__name__)


class Member(NamedTuple):
    """Holds a video in a tar: its first byte there, its bytes, and its times."""

    start: int
    size: int
    times: VideoTimes


class TarTimes:
    """Holds the times of the videos of one tar. size, sha256: of the tar."""

    def __init__(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.size, self.sha256 = int(about["bytes"]), str(about["sha256"])
        self._arrays = arrays

    def find(self, start: int, size: int) -> VideoTimes | None:
        """Returns the times of the video that lies there; None if none does. Raises: ValueError for impossible ones."""
        place = int(np.searchsorted(self._arrays["start"], start))
        if place == len(self._arrays["start"]) or self._arrays["start"][place] != start:
            return None
        if self._arrays["size"][place] != size:
            return None
        first, end = self._arrays["offsets"][place : place + 2].tolist()
        frames = int(self._arrays["frames"][place])
        if frames > size:  # each frame is a packet
            raise ValueError(f"{frames} frames cannot be in {size} bytes")
        try:
            found = unpack(self._arrays["found"][first:end].tobytes(), frames)
        except (struct.error, zlib.error, LookupError) as error:
            raise ValueError(str(error)) from error
        assert isinstance(found, VideoTimes)  # of a reason, there are no frames
        if len(found) != frames or (found.seekable and (np.diff(found.stamps) <= 0).any()):
            raise ValueError("its frames are not one after another")
        if not (0 < found.tick < math.inf and 0 <= found.begins < math.inf and min(found.size) > 0):
            raise ValueError("it says impossible times or sizes")
        return found


def write_times(tar: Path, sha256: str, members: Sequence[Member]) -> None:
    """Writes the file beside a tar. members: in the order in which they lie."""
    found = [pack(member.times) for member in members]
    arrays: dict[str, Any] = {
        "start": np.array([member.start for member in members], np.int64),
        "size": np.array([member.size for member in members], np.int64),
        "frames": np.array([len(member.times) for member in members], np.int64),
        "offsets": np.concatenate([[0], np.cumsum([len(data) for data in found])]).astype(np.int64),
        "found": np.frombuffer(b"".join(found), np.uint8),
    }
    about = {"format": _FORMAT, "bytes": tar.stat().st_size, "sha256": sha256}
    save_arrays(tar.with_suffix(SUFFIX), about, arrays)


def read_times(tar: Place) -> TarTimes | None:
    """Returns what lies beside a tar; None if nothing does, or it is damaged, which is logged.

    Raises: FrameError if an address does not answer.
    """
    file = Address(f"{tar.removesuffix('.tar')}{SUFFIX}") if isinstance(tar, Address) else tar.with_suffix(SUFFIX)
    if not exists(file):
        return None
    try:
        about, arrays = open_arrays(local_copy(file))
        count = len(arrays["start"])
        if about["format"] != _FORMAT:
            raise ValueError(f"has format {about['format']}, but this version reads format {_FORMAT}")
        if not is_offsets(arrays["offsets"], count, len(arrays["found"])) or not (
            len(arrays["size"]) == len(arrays["frames"]) == count and (arrays["frames"] > 0).all()
        ):
            raise ValueError("its parts do not fit together")
        return TarTimes(about, arrays)
    except (OSError, ValueError, LookupError, TypeError) as error:
        _log.warning("ignoring the times in %s (%s): its videos are scanned", file, error)
        return None


def times_beside(path: Place) -> VideoTimes | None:
    """Returns the times of a video in a tar from the file beside the tar; None if that does not have them."""
    try:
        extent = member_extent(path)
        known = None if extent is None else _open(extent[0], extent[1])
    except FrameError:  # whoever scans it gets the reason
        return None
    try:
        return None if known is None or extent is None else known.find(extent[2], extent[3] - extent[2])
    except ValueError as error:
        _log.warning("ignoring the times beside %s: %s, so it is scanned", path, error)
        return None


@lru_cache(_OPEN)
def _open(tar: str, size: int) -> TarTimes | None:
    known = read_times(place(tar))
    if known is not None and known.size != size:
        _log.warning("ignoring the times beside %s: it has %d bytes, not %d", tar, size, known.size)
        return None
    return known
