"""Reads and writes the text files of THUMOS14 and MultiTHUMOS: one per class, with lines `video start end`.

The name of the file is that of the class. THUMOS14 adds the subset: BaseballPitch_val.txt, BaseballPitch_test.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos
from datasets.spans.reading import Reading, shown
from datasets.spans.span import LabeledVideo, Span, SpanTable
from utils.errors import ListError, UserError

_SUBSET = re.compile(r"(.+)_(val|test|train)")
_SUBSETS = {"val": "val", "validation": "val", "test": "test", "testing": "test"}
_SUBSETS |= {"train": "train", "training": "train"}
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?(e-?\d+)?|nan|inf)", re.IGNORECASE)


def looks(document: Document) -> bool:
    """Says whether most lines are `video start end`."""
    if document.text.lstrip()[0] in "{[<" or document.path.suffix.lower() != ".txt":
        return False
    parts = [line.rsplit(None, 2) for _, line in document.lines]
    good = [len(part) == 3 and not set(",;") & set(part[0]) and all(map(_NUMBER.fullmatch, part[1:])) for part in parts]
    return 2 * sum(good) > len(good)


def _looks_like_thumos(document: Document) -> bool:
    return looks(document) and _SUBSET.fullmatch(document.path.stem) is not None


def _looks_like_multithumos(document: Document) -> bool:
    return looks(document) and _SUBSET.fullmatch(document.path.stem) is None


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the spans of one class."""
    match = _SUBSET.fullmatch(document.path.stem)
    label, subset = (match[1], match[2]) if match else (document.path.stem, "")
    videos = Videos()
    for where, line in document.lines:
        parts = line.rsplit(None, 2)
        if len(parts) != 3:
            raise ListError(f"{where}: {shown(line)} is not `video start end`")
        if problem := _unclear(parts[0]):
            raise ListError(f"{where}: {shown(line)} is not `video start end`: {problem}")
        videos.add(parts[0], reading.spans(parts[1], parts[2], label, where), where=where, subset=subset)
    return videos.table()


def write(table: SpanTable) -> str:
    """Returns the lines of one class. Raises UserError for a video that a line cannot name."""
    for video in table.videos:
        if problem := _unclear(video.name):
            raise UserError(f"{video.name!r}: THUMOS14 cannot name this video: {problem}; rename it")
    return "".join(f"{v.name} {span.start!r} {span.end!r}\n" for v in table.videos for span in v.spans)


def _unclear(name: str) -> str:
    """Says why a line that begins with this name of a video would mean something else; "" if it would not."""
    if name.strip() != name or not name.isprintable() or re.search("[,;]", name) or name[:1] in "{[<":
        return "its name has a comma, a semicolon, a bracket in front or characters that are not printed"
    if " " in name and _NUMBER.fullmatch(name.split()[-1]):
        return "a number behind its name may be a start or a score"
    return ""


def _by_subset(table: SpanTable) -> Iterator[tuple[str, SpanTable]]:
    """Yields the videos of each class and subset.

    Raises UserError for videos without subset, and for one that the names of files cannot say.
    """
    for video in table.videos:
        if video.spans and _subset(video.subset) is None:
            raise UserError(
                f"{video.name}: THUMOS14 names a file by class and subset, and its subset is "
                f"{video.subset or 'unknown'!r}; write multithumos, which has none"
            )
    for subset in sorted({_subset(video.subset) or "" for video in table.videos}):
        there = [video for video in table.videos if _subset(video.subset) == subset]
        for label, part in _by_class(replace(table, videos=tuple(there))):
            yield f"{label}_{subset}", part


def _by_class(table: SpanTable) -> Iterator[tuple[str, SpanTable]]:
    """Yields the videos of each class. Raises UserError for a class that cannot be the name of a file."""
    for label in sorted({span.label for span in table.spans}):
        if PurePosixPath(label).name != label or label.startswith(".") or _SUBSET.fullmatch(label):
            raise UserError(f"class {label!r}: THUMOS14 names files by classes, and this is no name of a file")
        videos = [replace(video, spans=_of_class(video, label)) for video in table.videos]
        yield label, replace(table, videos=tuple(video for video in videos if video.spans))


def _of_class(video: LabeledVideo, label: str) -> tuple[Span, ...]:
    return tuple(span for span in video.spans if span.label == label)


def _subset(name: str) -> str | None:
    return _SUBSETS.get(name.lower())


THUMOS14 = Format(
    title="THUMOS14",
    marks="text with lines `video start end`, named CLASS_val.txt or CLASS_test.txt",
    suffix=".txt",
    looks=_looks_like_thumos,
    read=read,
    write=write,
    holds=frozenset({"subset"}),
    parts=_by_subset,
    named=True,
    adds_up=True,
)
MULTITHUMOS = replace(
    THUMOS14,
    title="MultiTHUMOS",
    marks="text with lines `video start end`, named CLASS.txt",
    looks=_looks_like_multithumos,
    holds=frozenset(),
    parts=_by_class,
)
