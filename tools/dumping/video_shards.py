"""Writes encoded videos into tars, each with the times of its videos beside it, and finds out which tars are whole.

A tar is written under another name and gets its own when it is complete; the file of times is written after that, and
the lines of the manifest come last. What a killed run leaves counts for nothing and is written over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from datasets.lists.manifest import Manifest, Part
from datasets.places.tars import SUFFIX as TAR
from datasets.videos.scan import VideoTimes
from datasets.videos.tar_times import SUFFIX as TIMES
from datasets.videos.tar_times import Member, read_times, write_times
from utils.errors import UserError
from utils.files import sha256, sync_folder

_BLOCK = 512  # bytes of a tar, to which members are filled up
_PIECE = 1 << 20
_TEXTS, _NUMBERS = ("tar", "member", "packed_sha256"), ("offset", "packed_bytes")  # in the line of a packed video


class Shards:
    """Appends videos to tars of a folder, one tar after the other.

    part: the part of the videos that this process packs; its tars have names of their own.
    limit: bytes from which on a tar is finished.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, part: Part | None, limit: int) -> None:
        self._folder, self._manifest, self._limit = folder, manifest, limit
        self._stem = "videos" if part is None else f"videos-{part[0]}-of-{part[1]}"
        self._next = _last_number(manifest, self._stem) + 1
        self._open: _Shard | None = None
        self._adding = False
        for left in folder.glob(f".{self._stem}-*.tmp"):
            left.unlink()

    def add(self, name: str, file: Path, times: VideoTimes, line: Mapping[str, Any]) -> None:
        """Appends a file as the member `name`. line: of the manifest, which gets it once the tar is whole."""
        shard = self._open
        if shard is None or shard.has(name):
            self.finish()
            shard = self._open = _Shard(self._folder / f"{self._stem}-{self._next:05d}{TAR}")
            self._next += 1
        self._adding = True
        shard.add(name, file, times, line)
        self._adding = False
        if shard.bytes >= self._limit:
            self.finish()

    def finish(self) -> None:
        """Completes the tar that is being written, if one is."""
        if self._open is not None:
            shard, self._open = self._open, None
            for line in shard.finish():
                self._manifest.add(line)

    def close(self) -> None:
        """Completes the tar that is being written, or removes it if a video in it is not whole."""
        if self._open is not None and self._adding:
            self._open.abandon()
        else:
            self.finish()


class _Shard:
    """Writes one tar."""

    def __init__(self, path: Path) -> None:
        self._path, self._building = path, path.with_name(f".{path.name}.tmp")
        for old in (path, path.with_suffix(TIMES)):  # left by a run that was killed before the manifest had it
            old.unlink(missing_ok=True)
        self._file = _Hashed(self._building.open("wb"))
        self._tar = tarfile.open(fileobj=cast("IO[bytes]", self._file), mode="w")  # noqa: SIM115 - until it is full
        self._members: list[Member] = []
        self._lines: dict[str, Mapping[str, Any]] = {}

    @property
    def bytes(self) -> int:
        return self._tar.offset

    def has(self, name: str) -> bool:
        return name in self._lines

    def add(self, name: str, file: Path, times: VideoTimes, line: Mapping[str, Any]) -> None:
        info = tarfile.TarInfo(name)
        info.size = file.stat().st_size
        with file.open("rb") as opened:
            content = _Hashed(opened)
            self._tar.addfile(info, cast("IO[bytes]", content))
        start = self._tar.offset - -(-info.size // _BLOCK) * _BLOCK
        self._members.append(Member(start, info.size, times))
        about = {"tar": self._path.name, "member": name, "offset": start, "packed_bytes": info.size}
        self._lines[name] = {**line, **about, "packed_sha256": content.hexdigest()}

    def finish(self) -> list[Mapping[str, Any]]:
        """Gives the tar its name; returns the lines of the manifest for its videos."""
        try:
            self._tar.close()
            self._file.close()
        except OSError:
            self.abandon()
            raise
        self._building.replace(self._path)
        sync_folder(self._path.parent)
        write_times(self._path, self._file.hexdigest(), self._members)
        return list(self._lines.values())

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # of a full disk
            self._file.close()
        self._building.unlink(missing_ok=True)


class _Hashed:
    """Passes bytes on to a file or from one, and computes their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.hexdigest = self._digest.hexdigest

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._digest.update(data)
        return data

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Makes the file durable and closes it."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _last_number(manifest: Manifest, stem: str) -> int:
    found = (re.fullmatch(rf"{stem}-(\d+){TAR}", line.get("tar", "")) for line in manifest.videos.values())
    return max((int(match[1]) for match in found if match), default=-1)


def check_lines(manifest: Manifest) -> None:
    """Raises UserError for a line of a packed video that does not say where the video lies."""
    for video, line in manifest.videos.items():
        texts, numbers = ([line.get(key) for key in keys] for keys in (_TEXTS, _NUMBERS))
        if line.get("status") == "ok" and not (
            all(isinstance(text, str) for text in texts)
            and os.path.basename(line["tar"]) == line["tar"]  # noqa: PTH119 - a Path drops what is wrong
            and all(type(number) is int and number >= 0 for number in numbers)
        ):
            raise UserError(f"{manifest.path}: its line of {video!r} is damaged; restore or remove it")


class WholeTars:
    """Knows which tars of a folder are whole: those of the size that the file beside them says."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[str, bool]()

    def has(self, name: str) -> bool:
        """Returns whether a tar is whole."""
        if name not in self._known:
            tar = self._folder / name
            times = read_times(tar) if tar.is_file() else None
            self._known[name] = times is not None and times.size == tar.stat().st_size
        return self._known[name]


class Verified(NamedTuple):
    """Says what is in a tar. whole: whether it is what was written. damaged: which of its videos are not."""

    name: str
    videos: int
    whole: bool
    damaged: list[str]


def verify_tars(folder: Path, manifest: Manifest) -> Iterator[Verified]:
    """Reads all tars of a folder again, and compares them with their checksums, and if one differs its videos."""
    videos: dict[str, list[dict[str, Any]]] = {}
    for line in manifest.videos.values():
        if line.get("status") == "ok":
            videos.setdefault(line["tar"], []).append(line)
    for name, lines in sorted(videos.items()):
        tar = folder / name
        times = read_times(tar) if tar.is_file() else None
        whole = times is not None and times.size == tar.stat().st_size and times.sha256 == sha256(tar)
        yield Verified(name, len(lines), whole, [] if whole else [one["video"] for one in lines if not _same(tar, one)])


def _same(tar: Path, line: Mapping[str, Any]) -> bool:
    digest, left = hashlib.sha256(), line["packed_bytes"]
    try:
        with tar.open("rb") as file:
            file.seek(line["offset"])
            while left and (data := file.read(min(left, _PIECE))):
                digest.update(data)
                left -= len(data)
    except OSError:
        return False
    return not left and digest.hexdigest() == line["packed_sha256"]


def empty_folder(path: Path) -> Path:
    """Makes a folder without anything in it and returns it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path
