"""Where frames live: the one method that datasets need, and the embedded default, files on a disk.

Other stores have a file of their own and a line in the table in __init__.py. A store knows no pixels and no labels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from utils.errors import FrameError

_PIECE = 2**16  # bytes; most frames are smaller


class FrameStore(Protocol):
    """Encoded frames by video path and 0-based index.

    reads_files: whether it reads the frames' files, so that their names must be known.
    """

    reads_files: bool

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """The encoded frames in the order asked for. Raises FrameError naming the first that is missing or empty."""
        ...

    def frame_name(self, path: str, index: int) -> str:
        """What to call a frame in a message: its file."""
        ...

    def stats(self) -> dict[str, int]:
        """Counts since the start, over all workers; empty for stores with nothing to count."""
        ...


class DiskStore:
    """Frames as files: {root}/{path}/{template with the frame's number}.

    template: file name with one number, None where each record is itself an image file. first_frame: number of index 0.
    """

    reads_files = True  # so the names of the frames' files must be known

    def __init__(
        self, root: str | os.PathLike[str], *, template: str | None = "img_{:05d}.jpg", first_frame: int = 1
    ) -> None:
        self.root = os.fspath(root)
        self.template = template
        self.first_frame = first_frame

    def frame_name(self, path: str, index: int) -> str:
        """The file of one frame."""
        return self._file(self._folder(path), int(index))

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Reads the files; a frame asked for twice is read once."""
        wanted, folder = np.asarray(indices).tolist(), self._folder(path)
        frames = {index: read_frame(self._file(folder, index)) for index in dict.fromkeys(wanted)}
        return [frames[index] for index in wanted]

    def _folder(self, path: str) -> str:
        # os.path: pathlib costs as much as reading a cached file
        return os.path.join(self.root, path)  # noqa: PTH118

    def _file(self, folder: str, index: int) -> str:
        return folder if self.template is None else f"{folder}/{self.template.format(self.first_frame + index)}"

    def stats(self) -> dict[str, int]:
        """Nothing to count."""
        return {}


def read_frame(file: str) -> bytes:
    """The bytes of one image file. Raises FrameError with the reason in plain words."""
    try:
        # a file object costs as much again as reading a frame that the system has cached
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
    return data
