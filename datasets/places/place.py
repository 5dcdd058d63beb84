"""Tells addresses from paths. What has `://` behind its first word is an address of fsspec, such as s3://bucket/a.mp4."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # C:// is a drive


class Address(str):
    """Holds the address of a file or a folder. `/` adds a name, as with a Path."""

    __slots__ = ()

    def __truediv__(self, name: str | os.PathLike[str]) -> Address:
        return Address(join(self, os.fspath(name)))

    @property
    def name(self) -> str:
        """The part behind the last slash."""
        return self.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Address:
        """The folder that it lies in."""
        return Address(self.rstrip("/").rpartition("/")[0])


Place = Path | Address


def is_address(text: str | os.PathLike[str]) -> bool:
    """Returns whether a text is an address and not a path."""
    text = os.fspath(text)
    return "://" in text and _ADDRESS.match(text) is not None


def place(text: str | os.PathLike[str]) -> Place:
    """Returns the Address or the Path that a text is."""
    return Address(os.fspath(text)) if is_address(text) else Path(text)


def join(root: str | os.PathLike[str], path: str) -> str:
    """Returns a path with the root before it; an absolute path and an address stay as they are."""
    if is_address(path):
        return path
    if is_address(root):
        return f"{os.fspath(root).rstrip('/')}/{path.lstrip('/')}"
    return os.path.join(root, path)  # noqa: PTH118 - called per sample


def default_cache_folder() -> Path:
    """Returns our folder for data that can be computed again, in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytorch-video-analysis"


def digest(*parts: str) -> str:
    """Returns a hash of texts, for the name of a file in a cache."""
    return hashlib.sha1(os.fsencode("\0".join(parts)), usedforsecurity=False).hexdigest()
