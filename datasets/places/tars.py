"""Finds the members of tar files as WebDataset and img2dataset write them, so that each can be read by itself.

The members are listed once, in one pass over the headers, and kept in the user's cache folder until the tar changes.
A path goes on behind the tar as behind a folder: shards/train-00001.tar/000123.mp4.
"""

from __future__ import annotations

import bisect
import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from datasets.places.place import default_cache_folder, digest
from utils.errors import FrameError
from utils.flat_file import is_offsets, open_arrays, save_arrays
from utils.scoring.label_sets import SEPARATOR

SUFFIX = ".tar"
LABELS = ("cls", "json", "txt")  # members with the label of their sample, the first one that is there
_IN_JSON = ("label", "labels", "cls", "class")
_LONGEST_LABEL = 1 << 20  # bytes of a member that may be one
_LONGEST_TEXT = 200  # characters of a .txt that may be a class; captions are longer, or have several lines
_VERSION = 2
_OPEN = 256  # indexes
_BLOCK = 512  # of tar, whose end mark is a block of zeros
_MOST_BEHIND = 1 << 20  # bytes of zeros behind the members
_ENDS = re.compile(r"\.tar/")
_log = logging.getLogger(__name__)


class _NoLabelError(FrameError):
    """Says that a .json holds no usable label, which matters only if its sample has no other one."""


def split_member(path: str) -> tuple[str, str] | None:
    """Returns tar and member of a path that leads into a tar; None for other paths.

    A folder on a disk may have the name of a tar, such as an unpacked one.
    """
    for end in _ENDS.finditer(path) if f"{SUFFIX}/" in path else ():
        tar, member = path[: end.end() - 1], path[end.end() :]
        if end.start() and member and not os.path.isdir(tar):  # noqa: PTH112 - once per sample
            return tar, member
    return None


def sample_of(name: str) -> tuple[str, str]:
    """Returns the name of the sample that a member belongs to, and the rest, as WebDataset splits at the first dot."""
    folder, slash, base = name.rpartition("/")
    stem, _, rest = base.partition(".")
    return f"{folder}{slash}{stem}", rest


class TarIndex:
    """Holds where the files in a tar lie, sorted by name."""

    def __init__(self, arrays: dict[str, np.ndarray], texts: Sequence[str]) -> None:
        self._arrays, self._texts = arrays, texts

    def __len__(self) -> int:
        return len(self._arrays["start"])

    def __getitem__(self, number: int) -> bytes:
        first, end = self._arrays["offsets"][number : number + 2]
        return self._arrays["names"][first:end].tobytes()

    def find(self, name: str) -> tuple[int, int] | None:
        """Returns start and end of a member's bytes in the tar; None if there is no such member."""
        wanted = name.encode("utf-8", "surrogateescape")
        number = bisect.bisect_left(self, wanted)
        if number == len(self) or self[number] != wanted:
            return None
        start = int(self._arrays["start"][number])
        return start, start + int(self._arrays["size"][number])

    def members(self) -> list[tuple[str, str]]:
        """Returns the names of all members in the order in which they lie, each with the text that labels it has."""
        order = np.argsort(self._arrays["start"], kind="stable").tolist()
        return [(self[number].decode("utf-8", "surrogateescape"), self._texts[number]) for number in order]


def open_index(name: str, version: str, file: io.RawIOBase, size: int) -> TarIndex:
    """Returns the index of a tar, which is read only if its index is not kept yet.

    name: of the tar. version: of its contents. file: the tar. Raises: FrameError, naming it.
    """
    kept = default_cache_folder() / f"{digest(name, version)}-v{_VERSION}.tar-index"
    try:
        return _open(str(kept))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError) as error:
        _log.warning("ignoring a damaged index of %s: %s", name, error)
    arrays, texts = _scan(name, file, size)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(kept, {"tar": name, "texts": texts}, arrays)
    except OSError as error:
        _log.warning("cannot keep the index of %s (%s): the next run reads the tar again", name, error)
        return TarIndex(arrays, texts)
    return _open(str(kept))


@lru_cache(_OPEN)
def _open(file: str) -> TarIndex:
    about, arrays = open_arrays(Path(file))
    count, texts = len(arrays["start"]), about["texts"]
    fit = is_offsets(arrays["offsets"], count, len(arrays["names"])) and len(arrays["size"]) == count == len(texts)
    if not fit or (count and (arrays["start"].min() < 0 or arrays["size"].min() < 0)):
        raise ValueError(f"{file}: its parts do not fit together")
    return TarIndex(arrays, texts)


def _scan(name: str, file: io.RawIOBase, size: int) -> tuple[dict[str, np.ndarray], list[str]]:
    found: dict[bytes, tuple[int, int, str]] = {}
    named: set[str] = set()  # samples with a label in a member that comes before .json
    wrong: dict[str, FrameError] = {}
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # which would keep them all
                if member.isdir():
                    continue
                where = f"{name}/{member.name}"
                if not member.isreg() or member.issparse():
                    raise FrameError(f"{where}: is no plain file; pack the tar again without links")
                if member.offset_data + member.size > size:
                    raise FrameError(f"{where}: is cut off, because the tar ends at {size} bytes; copy it again")
                key = member.name.encode("utf-8", "surrogateescape")
                if key in found:
                    raise FrameError(f"{where}: is twice in the tar; pack it again")
                text, (sample, kind) = "", sample_of(member.name)
                try:
                    text = _label(name, tar, member)
                except _NoLabelError as error:
                    wrong[sample] = error
                if text and kind.lower() == LABELS[0]:
                    named.add(sample)
                found[key] = member.offset_data, member.size, text
            end = tar.offset
        _check_end(name, file, end, size)
    except tarfile.TarError as error:
        hint = "; unpack it first (.tar.gz)" if "not a gzip" in str(error) or _is_packed(file) else ""
        raise FrameError(f"{name}: is no tar, or damaged ({error}){hint}") from None
    if (fault := next((error for sample, error in wrong.items() if sample not in named), None)) is not None:
        raise fault
    order = sorted(found)
    arrays: dict[str, Any] = {
        "names": np.frombuffer(b"".join(order), np.uint8),
        "offsets": np.concatenate([[0], np.cumsum([len(key) for key in order])]).astype(np.int64),
        "start": np.array([found[key][0] for key in order], np.int64),
        "size": np.array([found[key][1] for key in order], np.int64),
    }
    return arrays, [found[key][2] for key in order]


def _check_end(name: str, file: io.RawIOBase, end: int, size: int) -> None:
    """Raises: FrameError unless the tar ends with its end mark: Python's reader takes any damage for the end."""
    file.seek(min(end, size))
    rest = file.read(_MOST_BEHIND)
    if len(rest) < _BLOCK or any(rest[:_BLOCK]):
        raise FrameError(f"{name}: is damaged or cut off at byte {min(end, size)} of {size}; copy it again")
    if any(rest) or end + len(rest) < size:
        raise FrameError(f"{name}: goes on behind its end mark at byte {end}, as joined tars do; pack it again")


def _is_packed(file: io.RawIOBase) -> bool:
    file.seek(0)
    return file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"(\xb5")


def _label(name: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Returns the label in a member that may be one; "" without one. Raises: FrameError for what cannot be one."""
    kind = sample_of(member.name)[1].lower()
    if kind not in LABELS or member.size > _LONGEST_LABEL:
        return ""
    opened = tar.extractfile(member)
    text = "" if opened is None else opened.read().decode("utf-8", "replace").strip()
    if kind != "json":
        return text if len(text) <= _LONGEST_TEXT and "\n" not in text else ""
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameError(f"{name}/{member.name}: is no JSON; pack the tar again") from None
    value = next((about[key] for key in _IN_JSON if key in about), None) if isinstance(about, dict) else about
    if value is None:
        return ""
    several = isinstance(value, list)
    labels = [_plain_label(one, in_list=several) for one in (value if several else [value])]
    if None in labels:
        shown = json.dumps(value, ensure_ascii=False)[:_LONGEST_TEXT]
        raise _NoLabelError(
            f"{name}/{member.name}: its label {shown} is not one; it must be a name, a whole number or a list of "
            f"these, and no name in a list may contain {SEPARATOR!r}"
        )
    return SEPARATOR.join(map(str, labels))


def _plain_label(value: Any, *, in_list: bool) -> str | None:
    """Returns a label of a JSON file as text; None if it cannot be one. in_list: whether it is one of several."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return None if in_list and (SEPARATOR in text or not text.strip()) else text
