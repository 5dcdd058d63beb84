"""Decodes with OpenCV and reads what libjpeg complains about, which it prints on stderr and says nowhere else.

libjpeg goes on after damaged data with invented pixels, and OpenCV returns them as a good picture. While it decodes,
stderr is a file in memory; what another thread or library prints meanwhile is passed on.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from typing import Any

import cv2
import numpy as np

_STDERR = 2
# the warnings of libjpeg that mean wrong pixels; others are about headers
_DAMAGE = re.compile(rb"^(?:Corrupt JPEG data: .*|Premature end of JPEG file|Inconsistent progression .*)\n?", re.M)


class _Ear:
    """Holds the file of one process that stands in for stderr; only one thread decodes at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._file: int | None = None

    def open(self) -> int:
        """Returns the descriptor of the file, which is empty."""
        if self._file is None:
            if hasattr(os, "memfd_create"):
                self._file = os.memfd_create("libjpeg")
            else:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            if self._file == _STDERR:  # stderr was closed, and its number was free
                self._file = os.dup(_STDERR)
                os.close(_STDERR)
        return self._file

    def heard(self) -> bytes:
        """Returns what was written, and empties the file."""
        file = self.open()
        if not (size := os.lseek(file, 0, os.SEEK_CUR)):
            return b""
        text = os.pread(file, size, 0)
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        return text


_ear = _Ear()


def _forget() -> None:
    """Gives a forked process a file and a lock of its own."""
    global _ear
    _ear = _Ear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def imdecode(data: bytes, flags: int) -> Any:
    """Decodes as cv2.imdecode does; returns None if the bytes are not an image that OpenCV knows.

    Raises: ValueError with libjpeg's complaint about a damaged JPEG, and for what OpenCV refuses.
    """
    with _ear.lock:
        file = _ear.open()
        try:
            stderr = os.dup(_STDERR)
        except OSError:
            stderr = None  # closed
        os.dup2(file, _STDERR)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:
            raise ValueError(f"OpenCV: {error.err}, {len(data)} bytes") from error
        finally:
            if stderr is None:
                os.close(_STDERR)
            else:
                os.dup2(stderr, _STDERR)
                os.close(stderr)
            text = _ear.heard()
    if text:
        complaint = _DAMAGE.search(text)
        if (rest := _DAMAGE.sub(b"", text)) and stderr is not None:
            os.write(_STDERR, rest)
        if complaint is not None:
            raise ValueError(
                f"damaged JPEG, {len(data)} bytes: libjpeg says {complaint[0].decode('ascii', 'replace').strip()!r}"
            )
    return image
