"""Keeps what scans of videos have found in files that only grow, so that nothing is scanned twice and nothing is lost.

A scan appends to a pair of files: `.found` has what was found out about each video, packed, and `.rows` a row of fixed
size for each, with the video's identity, the place in the other file and a checksum of both. A process that is killed
leaves at most a row without its end. No two processes write to one pair; all of them read all pairs.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from datasets.videos.scan import VideoTimes
from utils.system import lock

Scanned = VideoTimes | str  # the reason why it cannot be scanned
DIGEST = 20  # bytes of an identity
_ROW = np.dtype(
    [("start", "<u8"), ("rest", "<u4", 3), ("offset", "<u8"), ("length", "<u4"), ("frames", "<u4"), ("check", "<u4")]
)  # start and rest are the identity; no frames: what was found is a reason
_FIRST = struct.Struct(f"<{DIGEST}sQII")  # a row without its checksum
_SUM = struct.Struct("<I")
_HEAD = struct.Struct("<ddIIHBB")  # tick, begins, height, width, stream, flags, kind of numbers
_NUMBERS = tuple(np.dtype(kind) for kind in ("i1", "<i2", "<i4", "<i8"))
_SEEKABLE, _EVERY_KEY = 1, 2
_BLOCK = 1 << 18  # rows that are looked at together
_ROW_BITS = 40
_MOST_WRITERS = 4096
_NAME = "videos3-{}"  # with the version of the files


def pack(scanned: Scanned) -> bytes:
    """Returns what was found out about a video as few bytes: about 60 where frames come at a constant rate."""
    if isinstance(scanned, str):
        return scanned.encode()
    keys = np.searchsorted(scanned.stamps, scanned.keys)
    # of a constant rate, and of key frames at a constant distance, only zeros are left
    numbers = np.concatenate([np.diff(np.diff(part, prepend=0), prepend=0) for part in (scanned.stamps, keys)])
    kind = next(number for number, dtype in enumerate(_NUMBERS) if (numbers.astype(dtype) == numbers).all())
    flags = _SEEKABLE * scanned.seekable | _EVERY_KEY * scanned.every_key
    head = _HEAD.pack(scanned.tick, scanned.begins, *scanned.size, scanned.stream, flags, kind)
    return head + zlib.compress(numbers.astype(_NUMBERS[kind]).tobytes())


def unpack(found: bytes, frames: int) -> Scanned:
    """Returns what `pack` has packed. frames: how many the video has; 0 if it is a reason why there are not any.

    Takes no more memory than that many frames need. Raises: struct.error, zlib.error, LookupError, ValueError.
    """
    if not frames:
        return found.decode()
    tick, begins, height, width, stream, flags, kind = _HEAD.unpack_from(found)
    most, unpacking = 2 * frames * _NUMBERS[kind].itemsize, zlib.decompressobj()  # every frame may be a key frame
    data = unpacking.decompress(found[_HEAD.size :], most + 1)
    if not unpacking.eof or len(data) > most:
        raise zlib.error("there are more numbers than frames, or not all of them")
    numbers = np.frombuffer(data, _NUMBERS[kind]).astype(np.int64)
    stamps, keys = (np.cumsum(np.cumsum(part)) for part in (numbers[:frames], numbers[frames:]))
    rest = begins, stream, (height, width), bool(flags & _EVERY_KEY)
    return VideoTimes(stamps, stamps[keys], tick, bool(flags & _SEEKABLE), *rest)


class Pair:
    """Reads one pair of files as far as it had grown when it was opened; workers map the same pages.

    stem: its path without the ending; None for what could not be written and is only in memory.
    rows, found: the contents of the two files.
    """

    def __init__(self, stem: Path | None, rows: mmap.mmap | bytes, found: mmap.mmap | bytes, count: int) -> None:
        self.stem, self._maps = stem, (rows, found)
        self.rows, self._found = np.frombuffer(rows, _ROW, count), found

    @classmethod
    def open(cls, stem: Path, count: int | None = None) -> Pair:
        """Opens the first `count` rows, or all. Raises: OSError; ValueError if there are fewer, or a file is empty."""
        size = stem.with_suffix(".rows").stat().st_size // _ROW.itemsize
        if count is not None and count > size:
            raise ValueError(f"{stem}.rows has lost rows")
        count = size if count is None else count
        if not count:
            return cls(stem, b"", b"", 0)
        return cls(stem, _map(stem.with_suffix(".rows")), _map(stem.with_suffix(".found")), count)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.stem is None:
            return Pair, (None, self.rows.tobytes(), self._found, len(self.rows))
        return Pair.open, (self.stem, len(self.rows))

    def get(self, row: int) -> Scanned:
        """Returns what was found out about a video. Raises: ValueError if the files are damaged there."""
        if not self._sound(np.array([row]))[0]:
            raise ValueError(f"{self.stem}.found has changed; start again, and what is lost is scanned again")
        entry = self.rows[row]
        offset = int(entry["offset"])
        return unpack(self._found[offset : offset + int(entry["length"])], int(entry["frames"]))

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Returns the last sound rows with these identities, uint8 (n, DIGEST): int64 (n,), -1 for unknown ones."""
        wanted, inverse = np.unique(np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0], return_inverse=True)
        found, rows = np.full(len(wanted), -1, np.int64), self.rows
        for first in range(0, len(rows) if len(wanted) else 0, _BLOCK):  # the index may be much larger than the list
            starts = rows["start"][first : first + _BLOCK]
            place = np.minimum(np.searchsorted(wanted, starts), len(wanted) - 1)
            here = np.flatnonzero(wanted[place] == starts)
            sound = here[self._sound(first + here)]
            found[place[sound]] = first + sound
            self._release()
        found = found[inverse]
        identities = rows.view(np.uint8).reshape(len(rows), _ROW.itemsize)[:, :DIGEST]
        for first in range(0, len(found) if len(rows) else 0, _BLOCK):  # all at once would take 400 MB for ten million
            part = found[first : first + _BLOCK]
            part[(identities[part] != digests[first : first + _BLOCK]).any(1)] = -1
            self._release()
        return found

    def _sound(self, places: np.ndarray) -> np.ndarray:
        """Returns which of these rows have the right checksum, bool (n,)."""
        rows, found = self.rows[places], self._found
        data, parts = rows.tobytes(), [rows[name].tolist() for name in ("offset", "length", "check")]
        starts = range(0, len(data), _ROW.itemsize)
        sums = [
            zlib.crc32(found[offset : offset + length], zlib.crc32(data[start : start + _FIRST.size])) == check
            for start, offset, length, check in zip(starts, *parts, strict=True)
        ]
        return np.array(sums, bool)

    def _release(self) -> None:
        """Lets go of the pages that were read: they would count as memory of this process."""
        for part in self._maps:
            if isinstance(part, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                part.madvise(mmap.MADV_DONTNEED)


def _map(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


class ScannedVideos:
    """Reads all pairs of files together. A row has the number of its pair in the upper bits."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)

    def get(self, row: int) -> Scanned:
        """Returns what was found out about a video. Raises: ValueError if the files are damaged there."""
        return self.pairs[row >> _ROW_BITS].get(row & (1 << _ROW_BITS) - 1)

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Returns the numbers of frames of some rows, int64; 0 for videos that cannot be read and for row -1."""
        frames = np.zeros(len(rows), np.int64)
        for number, pair in enumerate(self.pairs):
            here = rows >> _ROW_BITS == number
            frames[here] = pair.rows["frames"][rows[here] & (1 << _ROW_BITS) - 1]
        return frames

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Returns the rows of the videos with these identities, uint8 (n, DIGEST): int64 (n,), -1 for unknown ones."""
        rows = np.full(len(digests), -1, np.int64)
        for number, pair in enumerate(self.pairs):
            here = pair.find(digests)
            rows = np.where(here >= 0, number << _ROW_BITS | here, rows)
        return rows


def open_all(folder: Path, first: Sequence[Pair] = ()) -> tuple[ScannedVideos, list[str]]:
    """Opens all pairs of files in a folder; also returns what is wrong with those that cannot be opened.

    first: pairs that have been opened before; the rows that they had then keep their numbers.
    """
    before = {pair.stem: pair for pair in first if pair.stem is not None}
    pairs, faults = [], []
    for stem in [*before, *(stem for stem in _stems(folder) if stem not in before)]:
        try:
            pairs.append(Pair.open(stem))
        except (OSError, ValueError) as error:
            faults.append(str(error))
            pairs += [before[stem]] if stem in before else []
    return ScannedVideos(pairs), faults


class Others:
    """Tells what other processes have kept since it was made. writer: the writer of this process."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._folder, self._own, self._sizes = folder, writer.stem, dict[Path, int]()
        self.grown()

    def grown(self) -> ScannedVideos:
        """Opens the pairs of files that have grown since the last call."""
        pairs = []
        for stem in _stems(self._folder):
            with contextlib.suppress(OSError, ValueError):
                size = stem.with_suffix(".rows").stat().st_size
                if stem != self._own and size != self._sizes.get(stem):
                    self._sizes[stem] = size
                    pairs.append(Pair.open(stem))
        return ScannedVideos(pairs)


class Writer:
    """Appends to the first pair of files in a folder that no other process appends to; each video is kept at once.

    stem: path of the pair without the endings; None if none can be written.
    failed: why nothing more can be written; it is only in memory then, as the pair `rest`.
    """

    def __init__(self, folder: Path) -> None:
        self.failed = ""
        self.stem: Path | None = None
        self._rows: IO[bytes] | None = None
        self._memory: list[tuple[bytes, int, bytes]] = []
        self._one_at_a_time = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open(folder)
        except OSError as error:
            self._fail(error)

    def _open(self, folder: Path) -> None:
        for number in range(_MOST_WRITERS):
            stem = folder / _NAME.format(number)
            try:
                # not one of the two: a lock goes as soon as its process closes the file, and readers close these
                self._lock = stem.with_suffix(".lock").open("a")
            except PermissionError:
                if stem.with_suffix(".lock").exists():  # somebody else's
                    continue
                raise
            if lock(self._lock):
                break
            self._lock.close()
        else:
            raise OSError("no file can be locked there")
        self.stem = stem
        self._rows, self._found = (stem.with_suffix(ending).open("ab", buffering=0) for ending in (".rows", ".found"))
        self._rows.truncate(self._rows.tell() // _ROW.itemsize * _ROW.itemsize)  # what a killed process left

    def add(self, digest: bytes, scanned: Scanned) -> None:
        """Keeps what was found out about a video. Threads may call it at once."""
        found, frames = pack(scanned), 0 if isinstance(scanned, str) else len(scanned)
        with self._one_at_a_time:
            self._add(digest, frames, found)

    def _add(self, digest: bytes, frames: int, found: bytes) -> None:
        if self._rows is not None:
            try:
                row = _row(digest, self._found.tell(), frames, found)
                _write(self._found, found)
                _write(self._rows, row)
                return
            except OSError as error:
                self._fail(error)
        self._memory.append((digest, frames, found))

    def _fail(self, error: OSError) -> None:
        self.failed = str(error.strerror or error)
        self.close()

    @property
    def rest(self) -> Pair:
        """The videos that could not be written."""
        rows, place = [], 0
        for digest, frames, found in self._memory:
            rows.append(_row(digest, place, frames, found))
            place += len(found)
        return Pair(None, b"".join(rows), b"".join(found for *_, found in self._memory), len(rows))

    def close(self) -> None:
        """Lets other processes append to the files."""
        with self._one_at_a_time:
            if self._rows is None:
                return
            for file in (self._found, self._rows):
                with contextlib.suppress(OSError):
                    os.fsync(file.fileno())
                file.close()
            self._rows = None
            self._lock.close()


def _stems(folder: Path) -> list[Path]:
    return [file.with_suffix("") for file in sorted(folder.glob(f"{_NAME.format('*')}.rows"))]


def _row(digest: bytes, offset: int, frames: int, found: bytes) -> bytes:
    first = _FIRST.pack(digest, offset, len(found), frames)
    return first + _SUM.pack(zlib.crc32(found, zlib.crc32(first)))


def _write(file: IO[bytes], data: bytes) -> None:
    """Writes all of it: a disk that fills up may take a part."""
    while data:
        data = data[file.write(data) :]
