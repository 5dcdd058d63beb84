"""Defines what a frame store is, and the default one, which reads files from a disk and compares their checksums.

Every other store has a file of its own and a line in STORES of datasets/__init__.py. A store knows neither pixels nor
labels. The checksums of a series of frames in a folder are a hidden file of lines `name CRC32`, the format SFV, which
checksum tools read.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from datasets.lists.manifest import MANIFEST, dumps_of
from datasets.places.files import exists, is_plain, read_all, read_bytes
from datasets.places.place import Place, join, place
from datasets.stores.frame_names import list_numbers
from utils.config.build import check_name
from utils.errors import ConfigError, FrameError, UserError
from utils.files import atomic_write

_FOLDERS = 4096  # whose checksums are not asked for again
_LOOKED_AT = 1000  # videos of a list, spread evenly, whose first frames tell whether frames were made anew
_PIECE = 2**16  # bytes; most frames are smaller
_SUMS_HEAD = b"; CRC-32 of the frames in this folder\n"
_RECORD = "tools/check_data.py --record-checksums"
_ADDRESS = "give an address, such as s3://bucket/frames, as train_root and val_root, and omit data.store"
_PACK = "to keep frames in a few large files, use the store packed, which tools/pack_frames.py writes"
_DECODE = "for encoded videos use the store video; its argument decoder chooses what decodes them"
# what to use here instead of a store of another project
_INSTEAD = {
    "mc": "it is SenseTime's own client; the store memcached keeps frames in the memory of a memcached server",
    **dict.fromkeys(("petrel", "ceph", "s3", "oss", "http"), _ADDRESS),
    **dict.fromkeys(("tar", "webdataset"), "name the tars as train_source and val_source (docs/data.md)"),
    **dict.fromkeys(("lmdb", "hdf5", "zip"), _PACK),
    **dict.fromkeys(("decord", "pyav", "opencv", "torchvision"), _DECODE),
    "local": "files on a disk are the default store, disk; omit data.store",
}


class FrameStore(Protocol):
    """Returns the encoded frames of a video by its path and their 0-based indices.

    reads_files: whether the store reads the files of frames, so that their names must be known.
    """

    reads_files: bool

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns encoded frames in the order of `indices`.

        Raises FrameError that names the first frame that is missing or empty.
        """
        ...

    def frame_name(self, path: str, index: int) -> str:
        """Returns the name of a frame for messages, such as its file."""
        ...

    def stats(self) -> dict[str, int]:
        """Returns counts since the start of the run, summed over all workers; empty if the store counts nothing."""
        ...


class DiskStore:
    """Reads frames from files: {root}/{path}/{template with the frame's number}.

    template: file name with one number; None if each record is itself an image file.
    first_frame: number of the frame with index 0.
    """

    reads_files = True

    def __init__(
        self, root: str | os.PathLike[str], *, template: str | None = "img_{:05d}.jpg", first_frame: int = 1
    ) -> None:
        self.root = os.fspath(root)
        self.template = template
        self.first_frame = first_frame
        self._sums_name = None if template is None else sums_name(template)

    @property
    def names(self) -> str:
        """The names of the files of frames; "" if each record is one."""
        return "" if self.template is None else f"{self.template} from {self.first_frame}"

    def frame_name(self, path: str, index: int) -> str:
        """Returns the file of one frame."""
        return self._file(self._folder(path), int(index))

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Reads the files of the frames, each of them once, and compares their checksums where there are any."""
        wanted, folder = np.asarray(indices).tolist(), self._folder(path)
        if ("://" in folder or ".tar/" in folder) and not is_plain(folder):
            return self._from_afar(folder, wanted)
        sums = self._sums(folder)
        frames = {index: read_frame(self._file(folder, index), sums) for index in dict.fromkeys(wanted)}
        return [frames[index] for index in wanted]

    def _from_afar(self, folder: str, wanted: list[int]) -> list[bytes]:
        """Reads the frames at an address or in a tar, several at a time, and compares their checksums."""
        files = {index: self._file(folder, index) for index in dict.fromkeys(wanted)}
        frames = dict(zip(files, read_all(list(files.values())), strict=True))
        sums = b"" if self._sums_name is None else _sums_from_afar(f"{folder}/{self._sums_name}")
        for index, data in frames.items() if sums else ():
            check_sum(sums, files[index], data)
        return [frames[index] for index in wanted]

    def num_frames(self, path: str) -> int:
        """Returns the number of frames that a folder has, counted from the first one to the last; -1 without any."""
        if self.template is None:
            return 1
        file = place(self.frame_name(path, 0))
        try:
            numbers = list_numbers(file.parent).get(Path(self.template).name, [])
        except (OSError, FrameError):
            return -1
        return numbers[-1] + 1 - self.first_frame if numbers else -1

    def _sums(self, folder: str) -> bytes:
        return b"" if self._sums_name is None else read_sums(f"{folder}/{self._sums_name}")

    def _folder(self, path: str) -> str:
        if "://" in path or "://" in self.root:
            return join(self.root, path)
        # os.path: pathlib costs as much as reading a cached file
        return os.path.join(self.root, path)  # noqa: PTH118

    def _file(self, folder: str, index: int) -> str:
        return folder if self.template is None else f"{folder}/{self.template.format(self.first_frame + index)}"

    def stats(self) -> dict[str, int]:
        """Returns nothing: this store counts nothing."""
        return {}


def facts_of_store(store: FrameStore, root: Place, paths: Sequence[str]) -> dict[str, str]:
    """Returns what a checkpoint keeps of the frames of a list: their names, and a digest if it takes no reading them.

    root, paths: of the videos of the list, each once. No paths: only the names are known.
    """
    known, names = getattr(store, "contents", None), getattr(store, "names", "")
    facts = {"names": names} if names else {}
    if not paths:
        return facts
    if known is not None:
        return facts | {"contents": known(paths)}
    if isinstance(root, Path) and (sizes := _sizes_of_frames(store, paths)):
        facts["first_frames"] = sizes
    manifests = getattr(store, "manifests", (MANIFEST,))
    if isinstance(root, Path) and any(dumped := [dumps_of(root, paths, name) for name in manifests]):
        facts["dumped"] = "-".join(dumped)
    return facts


def _sizes_of_frames(store: FrameStore, paths: Sequence[str]) -> str:
    """Returns a digest of the bytes that the first frames of up to _LOOKED_AT videos have; "" if no disk has them."""
    parts = getattr(store, "parts", (store,))
    if not all(isinstance(part, DiskStore) for part in parts):
        return ""
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(_LOOKED_AT, len(paths))).astype(np.int64))
    digest = hashlib.sha256()
    for number in chosen.tolist():
        for part in parts:
            try:
                size = os.stat(part.frame_name(paths[number], 0)).st_size  # noqa: PTH116
            except OSError:
                size = -1
            digest.update(b"%d " % size)
    return digest.hexdigest()[:32]


def check_store(kind: str, known: Collection[str]) -> None:
    """Raises ConfigError unless `kind` is one of the `known` types of stores; the message says what to use instead."""
    if kind not in known and kind in _INSTEAD:
        raise ConfigError(f"common.data.store.type: {kind!r} is not supported: {_INSTEAD[kind]}")
    check_name(known, kind, where="common.data.store.type")


def read_frame(file: str, sums: bytes = b"") -> bytes:
    """Returns the bytes of one image file. sums: the checksums of its folder. Raises FrameError with the reason."""
    try:
        # a file object would double the time that a frame in the system's cache takes
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(handle, _PIECE)
            while more := os.read(handle, _PIECE):
                data += more
        finally:
            os.close(handle)
    except FileNotFoundError:
        folder = os.path.dirname(file)  # noqa: PTH120
        what = "frame not found" if os.path.isdir(folder) else "folder of this frame not found"  # noqa: PTH112
        raise FrameError(f"{file}: {what}") from None
    except OSError as error:
        raise FrameError(f"{file}: cannot be read: {error.strerror}") from None
    if not data:
        raise FrameError(f"{file}: the file is empty (0 bytes)")
    if sums:
        check_sum(sums, file, data)
    return data


def sums_name(template: str) -> str:
    """Returns the name of the file with the checksums of a series of frames, such as .img_.sfv for img_{:05d}.jpg."""
    folder, slash, name = template.rpartition("/")
    return f"{folder}{slash}.{name.partition('{')[0]}.sfv"


def write_sums(folder: Path, template: str, sums: Mapping[str, int]) -> None:
    """Writes the checksums of a series of frames into their folder. sums: name -> CRC-32."""
    lines = (b"%s %08X\n" % (os.fsencode(name), sums[name]) for name in sorted(sums))
    target = folder / sums_name(template)
    try:
        with atomic_write(target) as file:
            file.write(_SUMS_HEAD + b"".join(lines))
    except PermissionError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None


def read_sums(file: str | os.PathLike[str]) -> bytes:
    """Returns the text of a file of checksums, empty without such a file. Raises FrameError if it cannot be read."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise FrameError(f"{os.fspath(file)}: cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as opened:
        return opened.read()


@lru_cache(_FOLDERS)
def _sums_from_afar(file: str) -> bytes:
    return read_bytes(file) if exists(file) else b""


def check_sum(sums: bytes, file: str, data: bytes) -> None:
    """Raises FrameError if a frame's bytes do not have its checksum; a frame without a checksum passes.

    sums: as `read_sums` returns it. file: the frame's path.
    """
    name = os.fsencode(os.path.basename(file))  # noqa: PTH119 - once per frame
    found = sums.find(b"\n%s " % name)
    if found >= 0 and sums[found + len(name) + 2 :][:8] != b"%08X" % zlib.crc32(data):
        raise FrameError(f"{file}: damaged or changed (wrong checksum); dump the video again, or run {_RECORD}")
