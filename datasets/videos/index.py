"""Scans the videos of a list once for the times of their frames, which are kept in flat arrays that all workers map.

Scanning reads packets and decodes nothing. If a video cannot be scanned, the reason is kept, and the video becomes a
fault when a sample needs it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from datasets.lists.records import default_cache_folder
from datasets.videos.video import SAME_TIME
from utils.errors import FrameError
from utils.flat_file import open_arrays, save_arrays

_VERSION = 1
_DECODED = ("vp8",)  # some packets show no picture, so only decoding tells the frames
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoTimes:
    """Holds the times of the n frames of one video in display order.

    stamps: int64 (n,), in ticks of `tick` seconds.
    keys: int64, the stamps of the key frames, at which decoding can begin.
    tick: seconds.
    seekable: False if the container gives frames no times, so that they can only be counted.
    """

    stamps: np.ndarray
    keys: np.ndarray
    tick: float
    seekable: bool

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def seconds(self) -> np.ndarray:
        """The seconds at which each frame appears, float64 (n,); the first one appears at 0."""
        return (self.stamps - self.stamps[0]) * self.tick

    @property
    def duration(self) -> float:
        """The length in seconds if the last frame is shown as long as the average one."""
        return float(self.seconds[-1]) * len(self) / (len(self) - 1) if len(self) > 1 else 0.0

    def frames_between(self, start: float, end: float) -> tuple[int, int]:
        """Returns the first frame from `start` seconds on and the first one from `end` on, by the rule of `between`."""
        moments = self.stamps[0] + (np.array([start, end]) - SAME_TIME) / self.tick
        first, last = np.searchsorted(self.stamps, moments).tolist()
        return first, last

    def index_of(self, stamp: int) -> int:
        """Returns the frame with this stamp."""
        return int(np.searchsorted(self.stamps, stamp))


class VideoIndex:
    """Holds the times of all videos of a list, by their position in it."""

    def __init__(self, arrays: dict[str, np.ndarray], errors: dict[int, str], file: Path | None) -> None:
        self._arrays, self._errors, self._file = arrays, errors, file

    def __len__(self) -> int:
        return len(self._arrays["ticks"])

    def __getitem__(self, video: int) -> VideoTimes:
        """Returns the times of one video. Raises FrameError if it could not be scanned."""
        if video in self._errors:
            raise FrameError(self._errors[video])
        arrays = self._arrays
        frames, keys = arrays["frames"][video : video + 2], arrays["key_frames"][video : video + 2]
        return VideoTimes(
            arrays["stamps"][frames[0] : frames[1]],
            arrays["keys"][keys[0] : keys[1]],
            float(arrays["ticks"][video]),
            bool(arrays["seekable"][video]),
        )

    def num_frames(self) -> np.ndarray:
        """Returns the number of frames of each video, int64 (videos,); 0 for a video that cannot be read."""
        return np.diff(self._arrays["frames"])

    @property
    def errors(self) -> dict[int, str]:
        """The reasons why videos cannot be read, by their position in the list."""
        return self._errors

    def __reduce__(self) -> tuple[object, ...]:
        if self._file is not None:
            return _open, (self._file,)
        return VideoIndex, (self._arrays, self._errors, None)


def index_videos(
    paths: Sequence[str], *, cache: str | os.PathLike[str] | None = None, threads: int | None = None
) -> VideoIndex:
    """Returns the index of the videos at `paths`; the cache is used if all names, sizes and times are unchanged.

    cache: folder of the cache; by default the user's cache folder.
    threads: number of threads that scan; by default one per core, but at most 8.
    """
    folder = Path(cache) if cache is not None else default_cache_folder()
    file = folder / f"{_key(paths)}-v{_VERSION}.videos"
    if file.exists():
        try:
            return _open(file)
        except (OSError, ValueError, KeyError) as error:
            _log.warning("ignoring a damaged index of videos: %s", error)
    _log.info("scanning %d videos, once", len(paths))
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        scanned = list(pool.map(_scan_or_error, paths))
    times = [one if isinstance(one, VideoTimes) else _NOTHING for one in scanned]
    errors = {place: one for place, one in enumerate(scanned) if isinstance(one, str)}
    arrays = {
        "stamps": np.concatenate([one.stamps for one in times]),
        "frames": np.concatenate([[0], np.cumsum([len(one.stamps) for one in times])]).astype(np.int64),
        "keys": np.concatenate([one.keys for one in times]),
        "key_frames": np.concatenate([[0], np.cumsum([len(one.keys) for one in times])]).astype(np.int64),
        "ticks": np.array([one.tick for one in times]),
        "seekable": np.array([one.seekable for one in times]),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_arrays(file, {"errors": {str(place): text for place, text in errors.items()}}, arrays)
        return _open(file)
    except OSError as error:
        _log.warning("cannot cache the index of videos in %s (%s): the next run scans them again", folder, error)
        return VideoIndex(arrays, errors, None)


def scan(path: str | os.PathLike[str]) -> VideoTimes:
    """Scans one video. Raises FrameError if it is missing, not a video, or has no video stream or no frame."""
    path = Path(path)
    if not path.is_file():
        raise FrameError(f"{path}: no such video")
    if not path.stat().st_size:
        raise FrameError(f"{path}: the file is empty (0 bytes)")
    try:
        with av.open(str(path.absolute())) as container:
            if not container.streams.video:
                raise FrameError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            rate = stream.average_rate
            tick = float(stream.time_base or 0)
            if stream.codec_context.name in _DECODED:
                found = [(frame.pts, frame.key_frame) for frame in container.decode(stream)]
            else:
                found = [
                    (packet.pts, packet.is_keyframe)
                    for packet in container.demux(stream)
                    if packet.size and not packet.is_discard
                ]
    except av.FFmpegError as error:
        raise FrameError(f"{path}: cannot be read as a video: {error.strerror or error}") from error
    if not found:
        raise FrameError(f"{path}: contains no frames")
    stamps = [stamp for stamp, _ in found if stamp is not None]
    if len(set(stamps)) < len(found) or not tick:
        counted = np.arange(len(found), dtype=np.int64)
        return VideoTimes(counted, counted[:1], 1 / float(rate) if rate else 1 / 25, False)
    keys = [stamp for stamp, is_key in found if is_key and stamp is not None] or [min(stamps)]
    return VideoTimes(np.sort(np.array(stamps, np.int64)), np.sort(np.array(keys, np.int64)), tick, True)


_NOTHING = VideoTimes(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0, False)


def _scan_or_error(path: str) -> VideoTimes | str:
    try:
        return scan(path)
    except FrameError as error:
        return str(error)


def _key(paths: Sequence[str]) -> str:
    """Hashes the names, sizes and times of all files; a missing file is hashed as missing."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - once per video of a large list
            stamp = b"%d %d" % (status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = b"none"
        digest.update(os.fsencode(path) + b"\0" + stamp + b"\0")
    return digest.hexdigest()


def _open(file: Path) -> VideoIndex:
    header, arrays = open_arrays(file)
    return VideoIndex(arrays, {int(place): text for place, text in header["errors"].items()}, file)
