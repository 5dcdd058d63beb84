"""Checks the spans of lists, by the rules of datasets/spans/check.py: their times, and which of them share a video."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from datasets.lists.columns import FRAMES, SECONDS, find_columns
from datasets.lists.row_spans import span_of_row
from datasets.lists.spans import plain
from datasets.lists.tables import Table
from datasets.spans import check
from datasets.spans import reading as labels
from datasets.spans.span import LabeledVideo, Span
from tools.checking.lists import DataSet, Entry, Fault, class_name
from utils.errors import ListError

_REMOVED = "the line is removed"


def span_columns(columns: Collection[str]) -> tuple[str, str]:
    """Returns the names of the two columns that hold spans: FRAMES, or start and end."""
    return FRAMES if FRAMES[0] in columns else SECONDS


def mended_rows(data: DataSet, split: str, table: Table) -> tuple[Table, set[int]]:
    """Returns a CSV without spans that cannot be, and the lines of those that --fix writes.

    What is wrong with the times of a row becomes a fault. Rows without a usable span are empty in the table.
    """
    header, rows = table
    source = data.sources[split]
    columns = find_columns(header, where=f"{source}:1")
    names = span_columns(columns)
    if "path" not in columns or not set(names) <= columns.keys():
        return table, set()
    kept: list[list[str]] = []
    moved: set[int] = set()
    for line, cells in enumerate(rows, 2):
        if len(cells) > max(columns.values()) and any(cells[columns[name]].strip() for name in names):
            before = len(data.faults)
            span = _span_of(data, split, line, cells, columns)
            if span is None:
                kept.append([])
                continue
            if len(data.faults) > before:
                moved.add(line)
                texts = {columns[name]: plain(moment) for name, moment in zip(names, span, strict=True)}
                cells = [texts.get(place, cell) for place, cell in enumerate(cells)]
        kept.append(cells)
    return (header, kept), moved


def _span_of(
    data: DataSet, split: str, line: int, cells: list[str], columns: Mapping[str, int]
) -> tuple[float, float] | None:
    """Returns the mended span of a row; None if nothing would be left of it. Each thing wrong becomes a fault."""
    where, path = f"{data.sources[split]}:{line}", cells[columns["path"]]
    names = span_columns(columns)
    in_frames = names == FRAMES
    start, end = (cells[columns[name]].strip() for name in names)
    reading = labels.Reading()
    times = (reading.frame_numbers if in_frames else reading.times)(start, end, where)
    found: Span | None = None
    if times is not None:
        label = cells[columns["label"]].strip() if "label" in columns else ""
        span = Span(times[0], times[1], label, where=where)
        found = check.mend(span, LabeledVideo(path), None, reading.faults, in_frames=in_frames)
    faults = [(fault.message, fault.fix or _REMOVED) for fault in reading.faults]
    if not faults:
        try:  # what main.py takes is narrower than what label files may have
            span_of_row(cells, dict(columns), where=where)
        except ListError as error:
            faults, found = [(str(error), _REMOVED)], None
    data.faults += [Fault("span", message, split, line, path, fix) for message, fix in faults]
    return None if found is None else (found.start, found.end)


def check_within(data: DataSet, entry: Entry, *, length: float, fps: float) -> None:
    """Adds a fault of a line whose span goes beyond its video, where --fix cuts it.

    length: of the video, in the unit of the span. fps: frames per second, 0 if unknown.
    """
    if entry.span is None:
        return
    faults: list[labels.Fault] = []
    span, video = _spans_of(data, entry)[0], LabeledVideo(entry.path, fps=fps or None)
    found = check.mend(span, video, length, faults, in_frames=entry.in_frames)
    for fault in faults:
        data.faults.append(Fault("span", fault.message, entry.split, entry.line, entry.path, fault.fix))
        entry.known = True
    if found is None:
        entry.drop = True
    elif faults:
        entry.span, entry.moved = (found.start, found.end), True
        if entry.num_frames:
            entry.num_frames = int(found.end - found.start)


def check_spans(data: DataSet) -> None:
    """Finds spans of one class that overlap, notes those of several classes, and finds videos in both splits."""
    for split in data.sources:
        groups: dict[tuple[str, bool], list[Entry]] = defaultdict(list)
        for entry in data.kept(split):
            if entry.span is not None:
                groups[os.path.normpath(entry.path), entry.in_frames].append(entry)
        others: list[tuple[Span, Span]] = []
        for (path, in_frames), entries in groups.items():
            spans = [span for entry in entries for span in _spans_of(data, entry)]
            for earlier, later in check.overlapping(spans, same_class=True):
                message = f"{later.where}: {check.said(later, in_frames=in_frames)} of {path!r} overlaps with "
                message += f"{check.said(earlier, in_frames=in_frames)}, line {_line(earlier)}; join or correct them"
                data.faults.append(Fault("span_overlap", message, split, _line(later), path))
            others += check.overlapping(spans, same_class=False)
        if others and not data.multi_label:
            first, second = others[0]
            data.notes.append(
                f"{data.sources[split]}: {len(others)} spans overlap with one of another class, the first on lines "
                f"{_line(first)} and {_line(second)}; their clips may show both, but have one label (multi_label: True "
                "gives them both)"
            )
    _check_shared(data)


def _spans_of(data: DataSet, entry: Entry) -> list[Span]:
    """Returns an entry as one span for each of its classes."""
    assert entry.span is not None
    where = f"{data.sources[entry.split]}:{entry.line}"
    return [Span(*entry.span, _name(data, label), where=where) for label in entry.labels or (-1,)]


def _name(data: DataSet, label: int) -> str:
    return data.names[label] if data.names is not None and 0 <= label < len(data.names) else class_name(data, label)


def _line(span: Span) -> int:
    return int(span.where.rpartition(":")[2])


def _check_shared(data: DataSet) -> None:
    """Finds videos with spans in both splits."""
    if any(fault.kind == "overlap" and not fault.line for fault in data.faults):  # all of one list are in the other
        return
    videos: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: {"train": [], "val": []})
    for split in ("train", "val"):
        for entry in data.kept(split) if split in data.sources else ():
            if entry.span is not None:
                videos[os.path.normpath(Path(data.roots[split], entry.path))][split].append(entry)
    for both in videos.values():
        train, val = both["train"], both["val"]
        if not (train and val):
            continue
        same = next(((entry, other) for entry in train for other in val if entry.shares(other)), None)
        entry, other = same or (train[0], val[0])
        what = f"{entry.path!r} also has spans in {data.sources['val']}, here line {other.line}"
        what += ", which overlaps with this one" if same else ""
        fewer = "train" if len(train) < len(val) else "val"
        message = f"{what}; clips of one video look alike, so the score is too good: keep them all in one list"
        data.blame("overlap", entry, message, fix=f"the video's lines in {data.sources[fewer].name} are removed")
        for one in both[fewer]:
            one.drop = one.known = True
