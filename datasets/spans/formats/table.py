"""Reads and writes tables: one row for each span, with the columns video, label, start and end, and perhaps others.

Times are seconds, or clock times such as 00:01:12.50. With the columns start_frame and end_frame they are frames,
which count from 0; end_frame is the first frame after the span, as `end` is the moment after it. A row with a video and
without label and times is a video without spans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets.lists.columns import FRAMES, find_columns, normal_name
from datasets.spans.document import Document
from datasets.spans.format import Format, Videos, csv_of
from datasets.spans.reading import Reading, count, entry, positive
from datasets.spans.span import SpanTable
from utils.errors import ListError

_NUMBERS: dict[str, Callable[[Any, str, str], Any]] = {"duration": positive, "fps": positive, "num_frames": count}
_SCORES = ("score", "confidence")


def looks(document: Document) -> bool:
    """Says whether the header names videos, labels, starts and ends."""
    if not document.header or {"id", "actions"} <= document.columns or "classname" in document.columns:
        return False
    if "verb_class" in document.columns:
        return False
    columns, _ = _columns(document)
    return {"path", "label", "start", "end"} <= columns.keys()


def _columns(document: Document) -> tuple[dict[str, int], bool]:
    """Returns the place of each column, and whether times are frames."""
    columns = find_columns(document.header, where=f"{document.path}:1")
    frames = set(FRAMES) <= columns.keys()
    if frames:
        columns["start"], columns["end"] = (columns.pop(name) for name in FRAMES)
    names = [normal_name(cell) for cell in document.header]
    columns |= {name: place for place, name in enumerate(names) if name in _NUMBERS or name in _SCORES}
    return columns, frames


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads all rows."""
    columns, frames = _columns(document)
    rows = [(where, {key: cells[place] for key, place in columns.items()}) for where, cells in document.rows()]
    reading.clocks.look_at(dict.fromkeys(row["path"] for _, row in rows))
    unread = [cell for place, cell in enumerate(document.header) if cell and place not in columns.values()]
    if unread:
        reading.notes.append(f"{document.path}: columns that are not read: {', '.join(unread)}")
    videos = Videos()
    for where, row in rows:
        if not row["path"]:
            raise ListError(f"{where}: the name of the video is empty")
        with entry(where):
            about: dict[str, Any] = {key: read(row.get(key), key, where) for key, read in _NUMBERS.items()}
            spans = []
            if any(row[key] for key in ("label", "start", "end")):
                label = row["label"]
                score = next((row[key] for key in _SCORES if key in row), None)
                if frames:
                    clock = reading.clock(row["path"], where, about["fps"])
                    spans = reading.frames(row["start"], row["end"], label, where, clock, score)
                else:
                    spans = reading.spans(row["start"], row["end"], label, where, score)
            videos.add(row["path"], spans, where=where, subset=row.get("split", ""), **about)
    return videos.table()


def write(table: SpanTable) -> str:
    """Returns a CSV in seconds, with the columns beyond video, label, start and end that something is known for."""
    more = [key for key in ("subset", *_NUMBERS) if any(getattr(video, key) for video in table.videos)]
    scored = any(span.score is not None for span in table.spans)
    rows: list[Sequence[object]] = [["video", "label", "start", "end", *["score"] * scored, *more]]
    for video in table.videos:
        about = [_cell(getattr(video, key)) for key in more]
        for span in video.spans:
            times = [repr(span.start), repr(span.end)]
            rows.append([video.name, span.label, *times, *[_cell(span.score)] * scored, *about])
        if not video.spans:
            rows.append([video.name, "", "", "", *[""] * scored, *about])
    return csv_of(rows)


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


FORMAT = Format(
    title="CSV",
    marks="CSV with columns for video, label, start and end",
    suffix=".csv",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"score", "subset", "duration", "fps", "num_frames", "empty"}),
)
