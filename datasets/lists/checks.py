"""Checks what is in the records of a list: paths, numbers of frames, labels."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from datasets.places.place import Place, is_address, join
from utils.errors import ListError
from utils.scoring.label_sets import LabelSets, spaces_hint

_SLASH, _DOT = ord("/"), ord(".")
_BLOCK = 1 << 22  # characters that are looked at together


class Checked(Protocol):
    """Names what is checked of the records of a list, a datasets.lists.records.RecordList."""

    root: Place
    num_frames: np.ndarray
    first: np.ndarray | None
    spans: np.ndarray | None
    labels: np.ndarray | LabelSets

    @property
    def paths(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bytes of all paths, and where each begins."""
        ...

    def path(self, index: int) -> str:
        """Returns the path of a record."""
        ...

    def where(self, index: int) -> str:
        """Returns `file:line` of a record."""
        ...


def has_nul(blob: np.ndarray) -> bool:
    """Says whether a path among the bytes of many, uint8, contains NUL, which no file system takes."""
    return bool(blob.min(initial=1) == 0)


def check_paths(records: Checked) -> None:
    """Raises ListError, with file and line, for a path that contains NUL."""
    blob, offsets = records.paths
    if has_nul(blob):
        worst = int(np.searchsorted(offsets, int(np.argmin(blob)), side="right")) - 1
        raise ListError(
            f"{records.where(worst)}: the path {records.path(worst)!r} contains the character NUL, which no file "
            "name has; the list is damaged: write it again"
        )


def check_spelling(records: Checked) -> None:
    """Raises ListError where two lines spell one path in two ways, such as ./a.mp4 and a.mp4, and that matters.

    The spans of a video, and the classes of a span, are found by the path: they would be those of two videos.
    """
    if records.spans is None and not isinstance(records.labels, LabelSets):
        return
    blob, offsets = records.paths
    if not _may_differ(blob, offsets):
        return  # as nearly all lists
    first: dict[str, int] = {}
    for index in range(len(offsets) - 1):
        path = records.path(index)
        before = records.path(first.setdefault(_normal(join(records.root, path)), index))
        if before != path:
            raise ListError(
                f"{records.where(index)}: {path!r} is the same path as {before!r} in another line, and would be "
                "another video; spell it alike in all lines"
            )


def _may_differ(blob: np.ndarray, offsets: np.ndarray) -> bool:
    """Returns whether two paths could be spellings of each other, without comparing them.

    They can where only some begin with a dot or a slash, or end with a slash, and where one has /. or // in it.
    """
    full = np.diff(offsets) > 0
    starts, ends = offsets[:-1][full], blob[offsets[1:][full] - 1]
    begins = blob[starts]
    dots = begins == _DOT
    if any(0 < marked.sum() < len(marked) for marked in (dots, begins == _SLASH, ends == _SLASH)):
        return True
    if dots.any() and not (blob[np.minimum(starts + 1, len(blob) - 1)] == _SLASH).all():  # not all are like ./a.mp4
        return True
    return any(_has_doubled(blob[at : at + _BLOCK + 1]) for at in range(0, len(blob), _BLOCK))


def _has_doubled(text: np.ndarray) -> bool:
    return bool(((text[:-1] == _SLASH) & ((text[1:] == _SLASH) | (text[1:] == _DOT))).any())


def _normal(path: str) -> str:
    return path if is_address(path) else os.path.normpath(path)


def check_counts(records: Checked, columns: tuple[str, ...]) -> None:
    """Raises ListError, with file and line, for a record without frames or with a negative offset."""
    if "num_frames" in columns and records.num_frames.min() < 1:
        worst = int(np.argmax(records.num_frames < 1))
        hint = spaces_hint(records.path(worst)) if columns[-1] == "labels" else ""
        raise ListError(
            f"{records.where(worst)}: {records.path(worst)!r} has {records.num_frames[worst]} frames; a video needs at "
            f"least one: remove the line or dump the video again{hint}"
        )
    if records.first is not None and records.first.min() < 0:
        worst = int(np.argmax(records.first < 0))
        raise ListError(
            f"{records.where(worst)}: {records.path(worst)!r} has the offset {records.first[worst]}; an offset is the "
            "number of frames before the span, 0 or more"
        )


def check_labels(records: Checked, num_class: int | None, *, unlabelled: bool) -> None:
    """Raises ListError, with file and line, for a label outside 0..num_class-1; `unlabelled` allows -1."""
    sets = records.labels if isinstance(records.labels, LabelSets) else None
    labels = records.labels.flat if isinstance(records.labels, LabelSets) else records.labels

    def fault(wrong: np.ndarray, message: str) -> ListError:
        place = int(np.argmax(wrong))
        return ListError(
            f"{records.where(place if sets is None else sets.video_of(place))}: label {labels[place]} {message}"
        )

    below = labels < -unlabelled
    if below.any():
        hint = "labels count from 0"
        if labels[np.argmax(below)] == -1:
            hint += "; -1 means that the class is unknown, which only lists that are scored may contain"
        raise fault(below, f"is negative; {hint}")
    if sets is not None:
        mixed = (labels < 0) & (np.repeat(sets.sizes, sets.sizes) > 1)
        if mixed.any():
            raise fault(mixed, "means that the classes are unknown, so the video cannot have other labels")
        if len(twice := _repeated(sets)):
            raise fault(np.arange(len(labels)) == twice[0], "is given twice; give each class once")
    if num_class is not None and labels.max(initial=0) >= num_class:
        hint = f"labels must be 0..{num_class - 1}"
        if labels.min(initial=num_class) >= 1 and labels.max() == num_class:
            hint += "; this list seems to count from 1 (tools/check_data.py --fix makes it count from 0)"
        else:
            hint += "; raise model.num_class or correct the list"
        raise fault(labels >= num_class, f"is outside num_class {num_class}: {hint}")


def _repeated(sets: LabelSets) -> np.ndarray:
    """Returns the positions in `sets.flat` of classes that their video has already, int64."""
    videos = np.repeat(np.arange(len(sets)), sets.sizes)
    order = np.lexsort((sets.flat, videos))
    same = (np.diff(sets.flat[order]) == 0) & (np.diff(videos[order]) == 0)
    return order[1:][same]
