"""Reads and writes the CSV of EPIC-Kitchens-100, whose actions are a class of verbs and a class of nouns.

A label is `verb noun`, with the names that EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv give the classes, if
these published files lie next to the CSV; otherwise it is the two numbers, such as `3 12`. The words of single rows are
not used, because many words belong to one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets.spans.document import Document
from datasets.spans.format import MICROSECONDS, Format, Videos, clock, csv_of
from datasets.spans.reading import Reading, shown
from datasets.spans.span import SpanTable
from utils.errors import ListError, UserError

_KINDS = ("verb", "noun")
_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
_COLUMNS = ("narration_id", "participant_id", *_NEEDED)


def looks(document: Document) -> bool:
    """Says whether there are the columns that an action has."""
    return set(_NEEDED) <= document.columns


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the actions of all videos."""
    names = {kind: _names(document.path.parent / f"EPIC_100_{kind}_classes.csv") for kind in _KINDS}
    if not all(names.values()):
        reading.notes.append(
            f"{document.path}: labels are the numbers of verb and noun; put EPIC_100_verb_classes.csv and "
            "EPIC_100_noun_classes.csv next to it for their names"
        )
        names = {kind: {} for kind in _KINDS}
    videos = Videos()
    for where, row in document.named_rows():
        numbers = [row[f"{kind}_class"] for kind in _KINDS]
        for kind, number in zip(_KINDS, numbers, strict=True):
            if not number.isdecimal() or (names[kind] and number not in names[kind]):
                raise ListError(f"{where}: {kind}_class {shown(number)} is no number of a {kind}")
        label = " ".join(names[kind].get(number, number) for kind, number in zip(_KINDS, numbers, strict=True))
        spans = reading.spans(row["start_timestamp"], row["stop_timestamp"], label, where)
        videos.add(row["video_id"], spans, where=where)
    return videos.table()


def _names(path: Path) -> dict[str, str]:
    """Returns the names of classes by their number, as text; empty without the file."""
    if not path.is_file():
        return {}
    document = Document(path)
    if not {"id", "key"} <= document.columns:
        raise ListError(f"{path}: has no columns id and key, as the published file has")
    return {row["id"]: row["key"] for _, row in document.named_rows()}


def write(table: SpanTable) -> str:
    """Returns a row for each action. Raises UserError for labels that are not two numbers: of a verb and a noun."""
    rows: list[Sequence[object]] = [_COLUMNS]
    for video in table.videos:
        for number, span in enumerate(video.spans):
            parts = span.label.split()
            if len(parts) != 2 or not all(part.isdecimal() for part in parts):
                raise UserError(
                    f"class {span.label!r}: EPIC-Kitchens writes actions as the numbers of a verb and a noun; rename "
                    "it to two numbers such as '3 12', or write another format"
                )
            times = [clock(moment, digits=6) for moment in (span.start, span.end)]
            rows.append([f"{video.name}_{number}", video.name.partition("_")[0], video.name, *times, *parts])
    return csv_of(rows)


FORMAT = Format(
    title="EPIC-Kitchens",
    marks="CSV with the columns video_id, start_timestamp, stop_timestamp, verb_class and noun_class",
    suffix=".csv",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset(),
    tick=MICROSECONDS,
)
