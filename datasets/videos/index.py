"""Scans the videos of a list once for the times of their frames, which are kept in flat arrays that all workers map.

What is scanned is kept as it goes, and by the video: a later run, or a list with some other videos, scans only what is
new or changed. If a video cannot be scanned, the reason is kept, and the video becomes a fault when a sample needs it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from datasets.lists.records import default_cache_folder
from datasets.videos.scan import VideoTimes, scan
from utils.errors import FrameError
from utils.flat_file import open_arrays, save_arrays

_VERSION = 2
_SUFFIX = f"-v{_VERSION}.videos"
SECONDS_BETWEEN_PARTS = 30.0
_log = logging.getLogger(__name__)

Scanned = VideoTimes | str  # the reason why it cannot be scanned


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
            float(arrays["begins"][video]),
            int(arrays["streams"][video]),
            tuple(arrays["sizes"][video].tolist()),
            bool(arrays["every_key"][video]),
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
    """Returns the index of the videos at `paths`; a video whose name, size and time are known is not scanned again.

    cache: folder of the cache; by default the user's cache folder.
    threads: number of threads that scan; by default one per core, but at most 8.
    """
    folder = Path(cache) if cache is not None else default_cache_folder()
    digests = [identity(path) for path in paths]
    file = folder / f"{hashlib.sha1(b''.join(digests), usedforsecurity=False).hexdigest()}{_SUFFIX}"
    if file.exists():
        try:
            return _open(file)
        except (OSError, ValueError, KeyError) as error:
            _log.warning("ignoring a damaged index of videos: %s", error)
            file.unlink(missing_ok=True)
    known, parts = _known(folder, digests)
    todo = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    if todo:
        _log.info("scanning %d videos, once; %d are known", len(todo), len(paths) - len(todo))
        parts += _scan_all(todo, known, folder, threads or min(8, os.cpu_count() or 1))
    arrays, errors = _arrays(digests, known)
    if not _save(file, arrays, errors):
        return VideoIndex(arrays, errors, None)
    for part in parts:
        part.unlink(missing_ok=True)
    return _open(file)


def _scan_all(todo: Mapping[bytes, str], known: dict[bytes, Scanned], folder: Path, threads: int) -> list[Path]:
    """Adds what is scanned to `known`; writes it to the folder from time to time, and returns the files."""
    parts: list[Path] = []
    fresh: list[bytes] = []

    def keep() -> None:
        part = folder / f"part-{uuid.uuid4().hex}{_SUFFIX}"
        if fresh and _save(part, *_arrays(fresh, known)):
            parts.append(part)
        fresh.clear()

    last = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(_scan_or_error, path): digest for digest, path in todo.items()}
        try:
            for future in as_completed(list(running)):
                digest = running.pop(future)
                known[digest] = future.result()
                fresh.append(digest)
                if running and time.monotonic() - last > SECONDS_BETWEEN_PARTS:
                    _log.info("scanned %d of %d videos", len(todo) - len(running), len(todo))
                    keep()
                    last = time.monotonic()
        except BaseException:  # above all Ctrl-C, which should not wait for videos that nobody needs now
            pool.shutdown(wait=False, cancel_futures=True)
            keep()
            raise
    return parts


def _arrays(digests: Sequence[bytes], known: Mapping[bytes, Scanned]) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Returns the arrays of these videos, and by position why some of them cannot be read."""
    scanned = [known[digest] for digest in digests]
    times = [one if isinstance(one, VideoTimes) else _NOTHING for one in scanned]
    errors = {place: one for place, one in enumerate(scanned) if isinstance(one, str)}
    arrays = {
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1),
        "stamps": np.concatenate([one.stamps for one in times]),
        "frames": np.concatenate([[0], np.cumsum([len(one.stamps) for one in times])]).astype(np.int64),
        "keys": np.concatenate([one.keys for one in times]),
        "key_frames": np.concatenate([[0], np.cumsum([len(one.keys) for one in times])]).astype(np.int64),
        "ticks": np.array([one.tick for one in times]),
        "seekable": np.array([one.seekable for one in times]),
        "begins": np.array([one.begins for one in times]),
        "streams": np.array([one.stream for one in times]),
        "sizes": np.array([one.size for one in times]),
        "every_key": np.array([one.every_key for one in times]),
    }
    return arrays, errors


def _save(file: Path, arrays: Mapping[str, np.ndarray], errors: Mapping[int, str]) -> bool:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(file, {"errors": {str(place): text for place, text in errors.items()}}, arrays)
    except OSError as error:
        _log.warning("cannot cache the index of videos in %s (%s): the next run scans them again", file.parent, error)
        return False
    return True


def _known(folder: Path, digests: Sequence[bytes]) -> tuple[dict[bytes, Scanned], list[Path]]:
    """Returns what the indexes in a folder know about these videos, and the parts that scans of them have left."""
    wanted = set(digests)
    known: dict[bytes, Scanned] = {}
    parts: list[Path] = []
    for file in folder.glob(f"*{_SUFFIX}"):
        try:
            index = _open(file)
            there = [row.tobytes() for row in index._arrays["digests"]]
        except (OSError, ValueError, KeyError):  # somebody else's index; its own list will say so
            continue
        for place, digest in enumerate(there):
            if digest in wanted:
                known[digest] = index.errors.get(place) or index[place]
        if file.name.startswith("part-") and wanted.issuperset(there):
            parts.append(file)
    return known, parts


_NOTHING = VideoTimes(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0, False)


def _scan_or_error(path: str) -> Scanned:
    try:
        return scan(path)
    except FrameError as error:
        return str(error)


def identity(path: str) -> bytes:
    """Returns a hash of the name, the size and the time of a file; a missing file is hashed as missing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - once per video of a large list
        stamp = b"%d %d" % (status.st_size, status.st_mtime_ns)
    except OSError:
        stamp = b"none"
    return hashlib.sha1(os.fsencode(path) + b"\0" + stamp, usedforsecurity=False).digest()


def _open(file: Path) -> VideoIndex:
    header, arrays = open_arrays(file)
    return VideoIndex(arrays, {int(place): text for place, text in header["errors"].items()}, file)
