"""Reads and writes the CSV of Charades, whose column `actions` is "c092 11.90 21.20;c147 0.00 12.60"."""

from __future__ import annotations

from collections.abc import Sequence

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos, csv_of
from datasets.spans.reading import Reading, positive, shown
from datasets.spans.span import SpanTable
from utils.errors import ListError, UserError


def looks(document: Document) -> bool:
    """Says whether there are columns id and actions."""
    return {"id", "actions"} <= document.columns


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the actions of all videos, whose labels are codes such as c092."""
    videos = Videos()
    for where, row in document.named_rows():
        spans = []
        for action in filter(None, map(str.strip, row["actions"].split(";"))):
            parts = action.rsplit(None, 2)
            if len(parts) != 3:
                raise ListError(f"{where}: action {shown(action)} is not `class start end`")
            spans += reading.spans(parts[1], parts[2], parts[0], where)
        videos.add(row["id"], spans, where=where, duration=positive(row.get("length"), "length", where))
    return videos.table()


def write(table: SpanTable) -> str:
    """Returns the columns id, actions and length. Raises UserError for a class with a semicolon in its name."""
    rows: list[Sequence[object]] = [["id", "actions", "length"]]
    for video in table.videos:
        for span in video.spans:
            if ";" in span.label:
                raise UserError(f"class {span.label!r}: Charades separates actions by semicolons; rename the class")
        actions = ";".join(f"{span.label} {span.start!r} {span.end!r}" for span in video.spans)
        rows.append([video.name, actions, "" if video.duration is None else repr(video.duration)])
    return csv_of(rows)


FORMAT = Format(
    title="Charades",
    marks="CSV with the columns id and actions",
    suffix=".csv",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"duration", "empty"}),
)
