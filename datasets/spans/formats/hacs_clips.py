"""Reads and writes the CSV of HACS Clips: `classname,youtube_id,subset,start,end,label`, where label is 1 or -1.

A clip with -1 does not show the class; such clips are counted and left out. HACS Segments has ActivityNet's form.
"""

from __future__ import annotations

from collections.abc import Sequence

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos, csv_of
from datasets.spans.reading import Reading, shown
from datasets.spans.span import SpanTable
from utils.errors import ListError

_COLUMNS = ("classname", "youtube_id", "subset", "start", "end", "label")


def looks(document: Document) -> bool:
    """Says whether there are all columns of HACS Clips."""
    return set(_COLUMNS) <= document.columns


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the clips that show their class. Raises ListError for a label other than 1 and -1."""
    videos, negatives = Videos(), 0
    for where, row in document.named_rows():
        if row["label"] not in ("1", "-1"):
            raise ListError(f"{where}: label {shown(row['label'])} is neither 1 nor -1")
        shows = row["label"] == "1"
        negatives += not shows
        spans = reading.spans(row["start"], row["end"], row["classname"], where) if shows else []
        videos.add(row["youtube_id"], spans, where=where, subset=row["subset"])
    if negatives:
        reading.notes.append(f"{document.path}: {negatives} clips that do not show their class (label -1) are not read")
    return videos.table()


def write(table: SpanTable) -> str:
    """Returns one row for each span."""
    rows: list[Sequence[object]] = [_COLUMNS]
    for video in table.videos:
        for span in video.spans:
            rows.append([span.label, video.name, video.subset, repr(span.start), repr(span.end), 1])
    return csv_of(rows)


FORMAT = Format(
    title="HACS Clips",
    marks="CSV with the columns classname, youtube_id, subset, start, end and label",
    suffix=".csv",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"subset"}),
)
