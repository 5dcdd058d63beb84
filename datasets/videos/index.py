"""Scans the videos of a list for the times of their frames: each video once, whatever list it is in.

What is scanned is kept video by video (scanned.py), so a run that is killed, a list with some other videos, or another
process that scans the same list scans only what is new or changed. Tars of tools/pack_videos.py bring their times along
(tar_times.py). If a video cannot be scanned, the reason is kept, and the video becomes a fault when a sample needs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.places.files import has_version, size_and_version, without_version
from datasets.places.place import Place, default_cache_folder
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.scanned import DIGEST, Others, Scanned, ScannedVideos, Writer, open_all
from datasets.videos.tar_times import times_beside
from utils.errors import FrameError
from utils.system import cores

SECONDS_TO_FIRST_LINE, SECONDS_BETWEEN_LINES = 5.0, 30.0
PIXELS = b"2"  # changes when the readers give other pixels of the same file
SECONDS_BETWEEN_LOOKS = 2.0  # at what other processes have scanned
_log = logging.getLogger(__name__)
_one_scan = threading.Lock()  # the locks of files are those of a process, not of a thread


class VideoIndex:
    """Holds the times of all videos of a list, by their position in it.

    scanned: all that is known.
    rows: int64 (videos,), where each one is in it.
    errors: the reasons why videos cannot be read, by their position.
    facts: as `facts_of` returns them, from when the files were looked at.
    """

    def __init__(self, scanned: ScannedVideos, rows: np.ndarray, errors: dict[int, str], facts: dict[str, str]) -> None:
        self._scanned, self._rows, self.errors, self.facts = scanned, rows, errors, facts
        self._last: tuple[int, VideoTimes] | None = None  # the spans of a video follow each other in many lists

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, video: int) -> VideoTimes:
        """Returns the times of one video. Raises FrameError if it could not be scanned, or the index is damaged."""
        if video in self.errors:
            raise FrameError(self.errors[video])
        if self._last is not None and self._last[0] == video:
            return self._last[1]
        try:
            found = self._scanned.get(int(self._rows[video]))
        except ValueError as error:
            raise FrameError(f"the index of videos is damaged: {error}") from None
        assert isinstance(found, VideoTimes)
        self._last = video, found
        return found

    def num_frames(self) -> np.ndarray:
        """Returns the number of frames of each video, int64 (videos,); 0 for a video that cannot be read."""
        return self._scanned.frames(self._rows)


def index_videos(
    paths: Sequence[str], *, cache: str | os.PathLike[str] | None = None, threads: int | None = None
) -> VideoIndex:
    """Returns the index of the videos at `paths`; a video whose name, size and time are known is not scanned again.

    paths: of files; those that are no plain ones as datasets.places.files.versioned has them. One of these that cannot
        be scanned is tried again the next time, as its server may have been the reason.
    cache: folder of what is kept; by default the user's cache folder.
    threads: number of threads that scan; by default one per core.
    """
    folder = Path(cache) if cache is not None else default_cache_folder()
    digests, missing, facts = _identities(paths)
    failed: dict[bytes, str] = {}
    with _one_scan:
        scanned, faults = open_all(folder)
        for fault in faults:
            _log.warning("ignoring a damaged index of videos: %s", fault)
        rows = scanned.find(digests)
        rows[missing] = -1
        todo = np.flatnonzero((rows < 0) & ~missing)
        if len(todo):
            todo = todo[np.sort(np.unique(digests[todo], axis=0, return_index=True)[1])]
            writer = Writer(folder)
            with contextlib.closing(writer):
                left = _not_beside(paths, digests, todo, writer)
                if len(left):
                    known = (rows >= 0).sum() + len(todo) - len(left)
                    _log.info("scanning %d videos, once; %d are known", len(left), known)
                    failed = _Scan(paths, digests, left, writer, folder).run(threads or cores())
            if writer.failed:
                what = "cannot cache the index of videos in %s (%s): the next run scans them again"
                _log.warning(what, folder, writer.failed)
            now = open_all(folder, scanned.pairs)[0]
            scanned, unknown = ScannedVideos([*now.pairs, writer.rest]), (rows < 0) & ~missing
            rows[unknown] = scanned.find(digests[unknown])
    errors = {place: f"{paths[place]}: no such file" for place in np.flatnonzero(missing).tolist()}
    for place in np.flatnonzero((scanned.frames(rows) == 0) & ~missing).tolist():
        reason = failed[digests[place].tobytes()] if rows[place] < 0 else scanned.get(int(rows[place]))
        assert isinstance(reason, str)
        errors[place] = f"{_shown(paths[place])}: {reason}"
    return VideoIndex(scanned, rows, dict(sorted(errors.items())), facts)


class _Scan:
    """Scans some videos of a list. Other processes that scan them at the same time share the work.

    Each begins somewhere else and leaves out what the others have kept meanwhile.
    """

    def __init__(
        self, paths: Sequence[str], digests: np.ndarray, todo: np.ndarray, writer: Writer, folder: Path
    ) -> None:
        self._paths, self._digests, self._writer = paths, digests, writer
        self._todo = np.roll(todo, -int(np.random.default_rng().integers(len(todo))))
        self._done = np.zeros(len(todo), bool)
        self._others, self._faults = Others(folder, writer), 0
        self._failed: dict[bytes, str] = {}
        self._begin = time.monotonic()
        self._next_look, self._next_line = self._begin + SECONDS_BETWEEN_LOOKS, self._begin + SECONDS_TO_FIRST_LINE

    def run(self, threads: int) -> dict[bytes, str]:
        """Scans all; returns by identity why files failed for which that is not kept."""
        left = self._left()
        running: dict[Future[bool], int] = {}
        with ThreadPoolExecutor(threads) as pool:
            try:
                while True:
                    while len(running) < 2 * threads and (place := next(left, None)) is not None:
                        running[pool.submit(self._one, place)] = place
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._done[running.pop(future)] = True
                        self._faults += future.result()
                    self._look()
                    self._say()
            except BaseException:  # above all Ctrl-C, which should not wait for videos that nobody needs now
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return self._failed

    def _left(self) -> Iterator[int]:
        for place in range(len(self._todo)):
            if not self._done[place]:
                yield place

    def _one(self, place: int) -> bool:
        """Scans a video and keeps what it finds, in a thread; returns whether it cannot be read."""
        path, digest = self._paths[self._todo[place]], self._digests[self._todo[place]].tobytes()
        scanned = _scan_or_error(path)
        if isinstance(scanned, str) and has_version(path):
            self._failed[digest] = scanned
        else:
            self._writer.add(digest, scanned)
        return isinstance(scanned, str)

    def _look(self) -> None:
        """Leaves out what other processes have kept meanwhile."""
        begin = time.monotonic()
        if begin < self._next_look:
            return
        left = np.flatnonzero(~self._done)
        others = self._others.grown()
        self._done[left] = others.find(self._digests[self._todo[left]]) >= 0
        end = time.monotonic()
        self._next_look = end + max(SECONDS_BETWEEN_LOOKS, 20 * (end - begin))

    def _say(self) -> None:
        """Logs now and then how far the scan is."""
        now = time.monotonic()
        if now < self._next_line:
            return
        count = int(self._done.sum())
        rest = (now - self._begin) * (len(self._done) - count) / max(count, 1)
        minutes = int(-(-rest // 60))
        left = f"{minutes} minute{'s' * (minutes != 1)} left"
        what = "scanned %d of %d videos, %.3g a second, %s; %d cannot be read"
        _log.info(what, count, len(self._done), count / (now - self._begin), left, self._faults)
        self._next_line = now + SECONDS_BETWEEN_LINES


def _not_beside(paths: Sequence[str], digests: np.ndarray, todo: np.ndarray, writer: Writer) -> np.ndarray:
    """Keeps what files beside tars say of their videos, and returns the others of `todo`."""
    left = set(todo.tolist())
    # tar by tar, as only some of them are kept open
    for place in sorted((place for place in left if has_version(paths[place])), key=lambda place: paths[place]):
        if (times := times_beside(without_version(paths[place]))) is not None:
            writer.add(digests[place].tobytes(), times)
            left.remove(place)
    return np.array(sorted(left), np.int64)


def _scan_or_error(path: str) -> Scanned:
    try:
        return scan(path)
    except FrameError as error:
        return str(error).removeprefix(f"{_shown(path)}: ")  # which other lists may spell in another way


def _shown(path: str) -> str:
    """Returns how messages call a file: as its list has it."""
    return str(without_version(path)) if has_version(path) else path


def _identities(paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Returns the identities of files, uint8 (n, DIGEST), which ones are missing, bool (n,), and facts of all."""
    digests, missing, sizes, times = bytearray(), np.zeros(len(paths), bool), hashlib.sha256(), hashlib.sha256()
    for place in range(len(paths)):
        looked = _look(paths[place])
        digests += looked.digest
        missing[place] = looked.missing
        sizes.update(b"%d " % looked.size)
        times.update(looked.version + b" ")
    facts = {"sizes": sizes.hexdigest()[:32], "times": times.hexdigest()[:32], "pixels": PIXELS.decode()}
    return np.frombuffer(digests, np.uint8).reshape(-1, DIGEST), missing, facts


def facts_of(paths: Sequence[str]) -> dict[str, str]:
    """Returns what a checkpoint keeps of the files of a list, wherever they lie: digests of their sizes and times.

    paths: as for `index_videos`, in the order of the list. The sizes are the same in a copy of the files. `pixels` is
    what changes when the readers give other pixels of the same file.
    """
    return _identities(paths)[2]


def where(root: Place) -> str:
    """Returns the place of the videos of a list, by which a copy elsewhere, whose times may be others, is known."""
    return os.path.abspath(root) if isinstance(root, Path) else str(root)  # noqa: PTH100 - a link may be the place


def identity(path: str) -> bytes:
    """Returns what tells the frames of a file from all others: a hash of its name, size and time, and PIXELS.

    A missing file is hashed as missing.
    """
    return _look(path).digest + PIXELS


class _Looked(NamedTuple):
    """Holds what a look at a file tells: its identity, whether it is missing, its bytes, and when it was written."""

    digest: bytes
    missing: bool
    size: int
    version: bytes


def _look(path: str) -> _Looked:
    if has_version(path):
        size, version = size_and_version(path)
        return _Looked(hashlib.sha1(os.fsencode(path), usedforsecurity=False).digest(), False, size, version.encode())
    try:
        path = os.path.abspath(path)  # noqa: PTH100 - once per video of a large list, as the next line
        status = os.stat(path)  # noqa: PTH116
        size, written = status.st_size, b"%d" % status.st_mtime_ns
        stamp = b"%d %s" % (size, written)
    except OSError:
        size, written, stamp = -1, b"", b"none"
    digest = hashlib.sha1(os.fsencode(path) + b"\0" + stamp, usedforsecurity=False).digest()
    return _Looked(digest, size < 0, size, written)
