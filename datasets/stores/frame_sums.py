"""Keeps a checksum of every frame beside the frames, so that a changed byte is an error and not another picture.

Each series of frames in a folder has one hidden file of lines `name CRC32`, the format SFV, which checksum tools read.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from utils.errors import FrameError, UserError
from utils.files import atomic_write

_HEAD = b"; CRC-32 of the frames in this folder\n"
RECORD = "tools/check_data.py --record-checksums"


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
            file.write(_HEAD + b"".join(lines))
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


def check_sum(sums: bytes, file: str, data: bytes) -> None:
    """Raises FrameError if a frame's bytes are not those that its checksum was made of; nothing if it has no checksum.

    sums: as `read_sums` returns it. file: the frame's path.
    """
    name = os.fsencode(os.path.basename(file))  # noqa: PTH119 - once per frame
    found = sums.find(b"\n%s " % name)
    if found >= 0 and sums[found + len(name) + 2 :][:8] != b"%08X" % zlib.crc32(data):
        raise FrameError(f"{file}: damaged or changed (wrong checksum); dump the video again, or run {RECORD}")
