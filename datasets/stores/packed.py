"""Reads frames from packs: a few large files instead of millions of small ones. tools/pack_frames.py writes them.

A pack is a folder. shard_00000.bin ... hold the encoded frames end to end, video by video; shard_00000.idx ... describe
one shard each; index.flat describes all shards and is mapped by every worker. Each frame has a checksum.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import unicodedata
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from datasets.places.blocks import RemoteFile
from datasets.places.files import exists, local_copy, size_of
from datasets.places.place import Address, Place, place
from utils.errors import FrameError
from utils.flat_file import is_offsets, open_arrays

INDEX = "index.flat"
FORMAT = 1
_OPEN_SHARDS = 64
_SHARD_NAME = re.compile(r"shard_\d+\.bin")  # in the folder of the pack, not elsewhere
Access = Literal["pread", "mmap"]


class _Shard(Protocol):
    """An open shard. Forked workers may inherit it, because it has no file position that they would share."""

    def read(self, size: int, offset: int) -> bytes: ...

    def close(self) -> None: ...


class _ReadShard:
    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDONLY)

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class _FarShard:
    """A shard at an address. Each frame has a checksum, so nothing else is compared."""

    def __init__(self, file: Address) -> None:
        self._stream = RemoteFile(file)

    def read(self, size: int, offset: int) -> bytes:
        return self._stream.read_at(offset, size, (offset, offset + size))

    def close(self) -> None: ...


class _MappedShard:
    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_RANDOM)  # frames are read in random order

    def read(self, size: int, offset: int) -> bytes:
        return self._map[offset : offset + size]

    def close(self) -> None:
        self._map.close()


ACCESS: dict[Access, type[_ReadShard] | type[_MappedShard]] = {"pread": _ReadShard, "mmap": _MappedShard}


class PackedStore:
    """Reads frames from the pack in `folder`.

    root, template, first_frame: not used; they are for stores that read the files of frames.
    access: "pread" reads each frame with a system call, and a failing disk gives an error that names the shard. "mmap"
        maps the shards and saves that call, but a failing disk ends the process: use it for local disks and /dev/shm.
    series: name of another series of pictures that is packed with the frames: flow_x or flow_y.

    Raises FrameError if there is no finished pack, or if shards are missing or incomplete, and names their videos.
    """

    reads_files = False

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        folder: str | os.PathLike[str],
        template: str | None = None,
        first_frame: int = 0,
        access: Access = "pread",
        series: str | None = None,
    ) -> None:
        self.folder, self.access, self.series = place(folder), access, series
        self._open(check=True)
        self._check_shards()

    def _open(self, *, check: bool) -> None:
        path = self.folder / INDEX
        try:
            if isinstance(path, Address) and not exists(path):
                raise FileNotFoundError
            path = local_copy(path)
            header, arrays = open_arrays(path, check=check, without_sums=True)
            if (found := header.get("format")) != FORMAT:
                raise FrameError(f"{path}: has format {found}, but this version reads format {FORMAT}; pack again")
            if check:
                _check_index(header["shards"], arrays)
        except FileNotFoundError:
            raise FrameError(
                f"{path}: there is no finished pack; run tools/pack_frames.py, which continues an unfinished one"
            ) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FrameError(f"{path}: cannot be read ({error}); run tools/pack_frames.py again") from None
        self._shards: list[dict[str, Any]] = header["shards"]
        self._arrays = arrays
        self._open_shards: OrderedDict[int, _Shard] = OrderedDict()

    def _check_shards(self) -> None:
        for number, shard in enumerate(self._shards):
            file = self.folder / shard["name"]
            size = size_of(file)
            if size != shard["bytes"]:
                what = f"has {size} bytes instead of {shard['bytes']}" if size >= 0 else "is missing"
                raise FrameError(f"{file}: {what}; it holds {self._videos_of(number)}; run tools/pack_frames.py again")

    def _videos_of(self, shard: int) -> str:
        videos = np.flatnonzero(self._arrays["video_shard"] == shard)
        shown = ", ".join(repr(self._path(video)) for video in videos[:3].tolist())
        return f"{len(videos)} videos: {shown}" + ", ..." * (len(videos) > 3)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.access, self.series)

    def __del__(self) -> None:
        for shard in getattr(self, "_open_shards", {}).values():
            shard.close()

    def __len__(self) -> int:
        return len(self._arrays["video_shard"])

    def num_frames(self, path: str) -> int:
        """Returns the number of frames that the pack has of a video; -1 if the video is not in it."""
        video = self._find(path)
        return -1 if video < 0 else int(np.diff(self._arrays["video_first"][video : video + 2])[0])

    def frame_name(self, path: str, index: int) -> str:
        """Returns shard, video and index of one frame, for messages."""
        video = self._find(path)
        where = self.folder if video < 0 else self.folder / self._shards[self._arrays["video_shard"][video]]["name"]
        return f"{where}: {path!r}, frame index {int(index)}"

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Reads and checks the frames, each of them once; returns them in the order of `indices`."""
        order, video = np.asarray(indices).tolist(), self._find(path)
        if video < 0:
            raise FrameError(f"{self.folder}: {path!r} is not in this pack; run tools/pack_frames.py with its list")
        first, last = self._arrays["video_first"][video : video + 2].tolist()
        sizes = self._arrays["frame_size"][first:last].astype(np.int64)
        ends = np.cumsum(sizes) + int(self._arrays["video_start"][video])
        shard = int(self._arrays["video_shard"][video])
        frames: dict[int, bytes] = {}
        for index in order:
            if index in frames:
                continue
            if not 0 <= index < last - first:
                raise FrameError(f"{self.frame_name(path, index)}: the pack has {last - first} frames of this video")
            size = int(sizes[index])
            data = self._read(shard, size, int(ends[index]) - size)
            if zlib.crc32(data) != int(self._arrays["frame_sum"][first + index]):
                raise FrameError(
                    f"{self.frame_name(path, index)}: damaged (wrong checksum); `python tools/pack_frames.py "
                    f"{self.folder} --verify` lists all damaged frames"
                )
            frames[index] = data
        return [frames[index] for index in order]

    def contents(self, paths: Sequence[str]) -> str:
        """Returns a digest of the frames of some videos, from the sizes and checksums in the index.

        It is the same in another pack of the same frames, and takes about 7 s for a million videos.
        """
        digest, first = hashlib.sha256(), self._arrays["video_first"]
        sizes, sums = self._arrays["frame_size"], self._arrays["frame_sum"]
        for path in paths:
            if (video := self._find(path)) >= 0:
                digest.update(b"%d " % int(first[video + 1] - first[video]))
                digest.update(sizes[first[video] : first[video + 1]].data)
                digest.update(sums[first[video] : first[video + 1]].data)
            else:
                digest.update(b"none ")
        return digest.hexdigest()[:32]

    def stats(self) -> dict[str, int]:
        """Returns nothing: this store counts nothing."""
        return {}

    def _read(self, shard: int, size: int, offset: int) -> bytes:
        file = self.folder / self._shards[shard]["name"]
        try:
            if shard not in self._open_shards:
                if len(self._open_shards) >= _OPEN_SHARDS:
                    self._open_shards.popitem(last=False)[1].close()
                far = isinstance(file, Address)
                self._open_shards[shard] = _FarShard(file) if far else ACCESS[self.access](file)
            self._open_shards.move_to_end(shard)
            return self._open_shards[shard].read(size, offset)
        except OSError as error:
            raise FrameError(f"{file}: cannot be read: {error.strerror}") from None

    def _find(self, path: str) -> int:
        """Returns the number of a video, however its list spells accented letters; -1 if it is not in the pack."""
        forms = [path] if path.isascii() else [path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD"))]
        return next((video for form in forms if (video := self._find_name(form)) >= 0), -1)

    def _find_name(self, path: str) -> int:
        name = os.fsencode(series_path(path, self.series))
        wanted = path_hash(name)
        hashes, order = self._arrays["hash"], self._arrays["hash_order"]
        place = int(np.searchsorted(hashes, wanted))
        while place < len(hashes) and hashes[place] == wanted:
            video = int(order[place])
            if self._bytes(video) == name:
                return video
            place += 1
        return -1

    def _bytes(self, video: int) -> bytes:
        start, stop = self._arrays["path_offsets"][video : video + 2]
        return self._arrays["paths"][start:stop].tobytes()

    def _path(self, video: int) -> str:
        return os.fsdecode(self._bytes(video))


def path_hash(name: bytes) -> np.uint64:
    """Returns the hash by which the index finds a path."""
    return np.uint64(int.from_bytes(hashlib.sha1(name, usedforsecurity=False).digest()[:8], "little"))


def series_path(path: str, series: str | None) -> str:
    """Returns the name that a pack has for a series of pictures of a video; None is the frames."""
    return path if series is None else f"{path}/{series}"


def _reopen(folder: Place, access: Access, series: str | None) -> PackedStore:
    store = PackedStore.__new__(PackedStore)
    store.folder, store.access, store.series = folder, access, series
    store._open(check=False)  # the process that sent it here has looked for damage
    return store


def _check_index(shards: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError where the parts of an index do not fit together, so that no frame is looked for outside."""
    videos, frames = len(arrays["video_shard"]), len(arrays["frame_size"])
    names = [(str(shard["name"]), int(shard["bytes"])) for shard in shards]
    order, shard_of = arrays["hash_order"], arrays["video_shard"]
    fit = (
        all(_SHARD_NAME.fullmatch(name) for name, _ in names)
        and is_offsets(arrays["path_offsets"], videos, len(arrays["paths"]))
        and is_offsets(arrays["video_first"], videos, frames)
        and [len(arrays[name]) for name in ("hash", "hash_order", "video_start")] == [videos] * 3
        and len(arrays["frame_sum"]) == frames
        and (not videos or (shard_of.min() >= 0 and shard_of.max() < len(shards)))
        and (not videos or (order.min() >= 0 and order.max() < videos and arrays["video_start"].min() >= 0))
    )
    if not fit:
        raise ValueError("its parts do not fit together")
