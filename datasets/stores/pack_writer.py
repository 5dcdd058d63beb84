"""Writes and verifies packs of frames; packed.py describes their format and reads them.

A shard is complete once its .idx exists. A run that is stopped keeps its complete shards, and the next run continues
after them.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from datasets.stores.packed import FORMAT, INDEX, path_hash
from utils.errors import UserError
from utils.flat_file import is_offsets, open_arrays, save_arrays

_STAMPS = "of frames"  # in the description of a shard
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedVideo:
    """Holds the encoded frames of one video.

    path: the video's path in the list.
    frames: its encoded frames.
    stamp: digest of the names, sizes and times of its frames, by which the next run sees whether it has changed.
    """

    path: str
    frames: Sequence[bytes]
    stamp: int = 0


@dataclass
class _Shard:
    """Describes one shard; all lists are in the order of its videos.

    name: of its file.
    names, stamps, counts: path, stamp and number of frames of each video.
    starts: where each video begins in the file.
    sizes, sums: size and checksum of each frame, one array per video.
    bytes: size of the file.
    finished: when it was, in ns.
    by_folder: whether the stamps are the times of folders in ns, which older versions kept.
    """

    name: str
    names: list[bytes] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)
    bytes: int = 0
    finished: int = 0
    by_folder: bool = False


class PackWriter:
    """Adds videos to the pack in `folder`, in shards of about `shard_bytes`."""

    def __init__(self, folder: Path, *, shard_bytes: int = 512 << 20) -> None:
        self.folder, self.shard_bytes = folder, shard_bytes
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob("*.tmp"):
            torn.unlink()
        found = map(_load_whole, sorted(folder.glob("shard_*.idx")))
        self._shards = [shard for shard in found if shard is not None]
        self.known: dict[bytes, tuple[int, int, _Shard]] = {}  # path -> (number of frames, stamp, its newest shard)
        for shard in self._shards:
            self._know(shard)

    def _know(self, shard: _Shard) -> None:
        about = zip(shard.names, shard.counts, shard.stamps, strict=True)
        self.known.update({name: (count, stamp, shard) for name, count, stamp in about})

    def has(self, path: str, frames: int, stamp: int, *, folder: int = 0, newest: int = 0) -> bool:
        """Returns whether this video is packed already and has not changed.

        folder, newest: times of its folder and of its newest frame in ns, by which shards of older versions know it.
        """
        found = self.known.get(os.fsencode(path))
        if found is None or found[0] != frames:
            return False
        if found[2].by_folder:
            return found[1] == folder and newest <= found[2].finished
        return found[1] == stamp

    def write(self, videos: Iterable[PackedVideo]) -> Iterator[PackedVideo]:
        """Packs the videos and yields each of them after it is written; finished shards stay even if a later one fails.

        Raises UserError if the disk is full or cannot be written.
        """
        shard: _Shard | None = None
        file: IO[bytes] | None = None
        try:
            for video in videos:
                if shard is None or file is None:
                    shard = _Shard(f"shard_{self._next_number():05d}.bin")
                    file = (self.folder / f"{shard.name}.tmp").open("wb")
                _append(shard, file, video)
                yield video
                if shard.bytes >= self.shard_bytes:
                    self._finish(shard, file)
                    shard, file = None, None
            if shard is not None and file is not None:
                self._finish(shard, file)
                shard, file = None, None
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise UserError(
                f"{self.folder}: {'the disk is full' if full else error.strerror} after {len(self._shards)} complete "
                "shards; free some space and run the same command again, which continues from there"
            ) from error
        finally:
            if shard is not None and file is not None:
                _discard(self.folder / f"{shard.name}.tmp", file)

    def merge(self, wanted: Iterable[str]) -> int:
        """Writes the index of the videos `wanted` over all shards; returns how many of them are packed.

        If a video is in several shards, the index has the newest copy.
        """
        newest = {
            name: (number, place) for number, shard in enumerate(self._shards) for place, name in enumerate(shard.names)
        }
        chosen = [newest[name] for path in wanted if (name := os.fsencode(path)) in newest]
        names = [self._shards[number].names[place] for number, place in chosen]
        counts = [self._shards[number].counts[place] for number, place in chosen]
        hashes = np.array([path_hash(name) for name in names], np.uint64)
        order = np.argsort(hashes, kind="stable")
        nothing = [np.zeros(0, np.uint32)]
        arrays = {
            "paths": np.frombuffer(b"".join(names), np.uint8),
            "path_offsets": _offsets([len(name) for name in names]),
            "hash": hashes[order],
            "hash_order": order.astype(np.int64),
            "video_shard": np.array([number for number, _ in chosen], np.int32),
            "video_start": np.array([self._shards[number].starts[place] for number, place in chosen], np.int64),
            "video_first": _offsets(counts),
            "frame_size": np.concatenate([self._shards[number].sizes[place] for number, place in chosen] or nothing),
            "frame_sum": np.concatenate([self._shards[number].sums[place] for number, place in chosen] or nothing),
        }
        header = {"format": FORMAT, "shards": [{"name": shard.name, "bytes": shard.bytes} for shard in self._shards]}
        try:
            save_arrays(self.folder / INDEX, header, arrays)
        except OSError as error:
            raise UserError(f"{self.folder / INDEX}: cannot be written: {error.strerror}") from error
        return len(chosen)

    def _next_number(self) -> int:
        return max((int(shard.name[6:-4]) for shard in self._shards), default=-1) + 1

    def _finish(self, shard: _Shard, file: IO[bytes]) -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        (self.folder / f"{shard.name}.tmp").replace(self.folder / shard.name)
        save_arrays(
            self.folder / shard.name.replace(".bin", ".idx"),
            {"format": FORMAT, "bytes": shard.bytes, "stamps": _STAMPS},
            {
                "names": np.frombuffer(b"".join(shard.names), np.uint8),
                "name_offsets": _offsets([len(name) for name in shard.names]),
                "stamps": np.array(shard.stamps, np.int64),
                "counts": np.array(shard.counts, np.int64),
                "starts": np.array(shard.starts, np.int64),
                "sizes": np.concatenate(shard.sizes),
                "sums": np.concatenate(shard.sums),
            },
        )
        shard.finished = (self.folder / shard.name.replace(".bin", ".idx")).stat().st_mtime_ns
        self._shards.append(shard)
        self._know(shard)


def verify(folder: Path) -> Iterator[tuple[str, int, list[tuple[str, list[int]]]]]:
    """Reads every shard; yields (file, number of videos in it, damaged videos with the indices of their bad frames)."""
    for path in sorted(folder.glob("shard_*.idx")):
        try:
            shard = _load(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); run tools/pack_frames.py again") from None
        bad: list[tuple[str, list[int]]] = []
        try:
            with (folder / shard.name).open("rb") as file:
                for place, name in enumerate(shard.names):
                    file.seek(shard.starts[place])
                    wrong = [
                        index
                        for index, (size, check) in enumerate(
                            zip(shard.sizes[place].tolist(), shard.sums[place].tolist(), strict=True)
                        )
                        if zlib.crc32(file.read(size)) != check
                    ]
                    if wrong:
                        bad.append((os.fsdecode(name), wrong))
        except OSError:
            bad = [
                (os.fsdecode(name), list(range(count))) for name, count in zip(shard.names, shard.counts, strict=True)
            ]
        yield shard.name, len(shard.names), bad


def _append(shard: _Shard, file: IO[bytes], video: PackedVideo) -> None:
    shard.names.append(os.fsencode(video.path))
    shard.stamps.append(video.stamp)
    shard.counts.append(len(video.frames))
    shard.starts.append(shard.bytes)
    shard.sizes.append(np.array([len(frame) for frame in video.frames], np.uint32))
    shard.sums.append(np.array([zlib.crc32(frame) for frame in video.frames], np.uint32))
    for frame in video.frames:
        file.write(frame)
        shard.bytes += len(frame)


def _load(path: Path) -> _Shard:
    """Reads the description of a shard. Raises ValueError if it is damaged, and OSError if it cannot be read."""
    try:
        header, arrays = open_arrays(path, without_sums=True)
        counts, names, offsets = arrays["counts"], arrays["names"].tobytes(), arrays["name_offsets"]
        ends = np.concatenate([[0], np.cumsum(counts)])
        fit = is_offsets(offsets, len(counts), len(names)) and is_offsets(ends, len(counts), len(arrays["sizes"]))
        alike = len(arrays["stamps"]) == len(arrays["starts"]) == len(counts)
        if not fit or not alike or len(arrays["sums"]) != len(arrays["sizes"]):
            raise ValueError("its parts do not fit together")
        size = int(header["bytes"])
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    return _Shard(
        path.with_suffix(".bin").name,
        [names[start:stop] for start, stop in itertools.pairwise(offsets.tolist())],
        arrays["stamps"].tolist(),
        counts.tolist(),
        arrays["starts"].tolist(),
        np.split(arrays["sizes"], ends[1:-1]),
        np.split(arrays["sums"], ends[1:-1]),
        size,
        path.stat().st_mtime_ns,
        header.get("stamps") != _STAMPS,
    )


def _load_whole(path: Path) -> _Shard | None:
    """Returns a shard that is complete; None if its file has another size, or its .idx is damaged and so removed."""
    try:
        shard = _load(path)
        return shard if path.with_suffix(".bin").stat().st_size == shard.bytes else None
    except OSError:
        return None
    except ValueError as error:
        _log.warning("%s; its videos are packed again", error)
        path.unlink()
        return None


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _discard(path: Path, file: IO[bytes]) -> None:
    try:
        file.close()  # flushes, which fails on a full disk
    except OSError:
        pass
    finally:
        path.unlink(missing_ok=True)
