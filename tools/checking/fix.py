"""Repairs lists and the class file, but never frames; the originals are kept next to them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from datasets.lists.columns import delimiter_of, find_columns, is_number, read_label
from datasets.lists.shards import is_shards
from datasets.lists.spans import plain
from datasets.lists.tables import TABLES, read_table
from tools.checking.classes import empty_classes, hole
from tools.checking.lists import DataSet, Entry, Fault, labels_of
from tools.checking.spans import span_columns
from utils.errors import UserError
from utils.files import atomic_write
from utils.scoring.label_sets import NONE, SEPARATOR, labels_to_text


def fix(data: DataSet) -> list[Path]:
    """Writes repaired lists in place and returns the files that changed; originals get the suffix .orig.

    Raises UserError if no video would be left, and for a folder instead of a list.
    """
    for source in data.sources.values():
        if is_shards(source):
            raise UserError(f"{source}: --fix repairs lists, not tars; pack it again")
        if source.is_dir():
            raise UserError(f"{source}: --fix repairs lists, not folders; tools/make_lists.py --videos writes lists")
    _remove_classes(data, empty_classes(data))
    changed = []
    for split, source in data.sources.items():
        entries = data.kept(split)
        if not entries:
            raise UserError(f"{source}: no video would be left; nothing was written")
        table = read_table(source) if source.suffix.lower() in TABLES else None
        text = _lines(data, entries) if table is None else _table(data, source, entries, *table)
        if text is not None:
            changed += _replace(source, text)
    if data.class_file is not None and data.names is not None:
        text = "".join(f"{index} {name}\n" for index, name in enumerate(data.names))
        if any(fault.kind == "class_hole" for fault in data.faults):
            changed += _replace(data.class_file, text)
    return changed


def _lines(data: DataSet, entries: list[Entry]) -> str:
    counted, offset = "num_frames" in data.columns, "offset" in data.columns
    counts = [f" {entry.num_frames}" if counted else "" for entry in entries]
    if offset:
        counts = [f" {entry.span[0]:.0f}{count}" for entry, count in zip(entries, counts, strict=True) if entry.span]
    return "".join(
        f"{_quoted(entry.path)}{count} {labels_to_text(entry.labels)}\n"
        for entry, count in zip(entries, counts, strict=True)
    )


def _table(data: DataSet, source: Path, entries: list[Entry], header: list[str], rows: list[list[str]]) -> str | None:
    """Returns a CSV with the rows of the entries, all their columns and their form of labels; None if nothing changes.

    Rows without an entry are left out. These are missing videos and, with several classes, all rows of a video but the
    first, which gets all its classes.
    """
    columns = find_columns(header, where=f"{source}:1")
    label = columns.get("label")
    kept = []
    for entry in entries:
        row = list(rows[entry.line - 2])
        if entry.moved and entry.span is not None:
            for key, moment in zip(span_columns(columns), entry.span, strict=True):
                row[columns[key]] = plain(moment)
        if label is not None and entry.labels != (-1,):
            row[label] = _cell(data, entry, row[label])
        kept.append(row)
    if kept == [row for row in rows if any(row)]:
        return None
    text = io.StringIO()
    with source.open(encoding="utf-8-sig") as file:
        delimiter = delimiter_of(file.readline())
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *kept])
    return text.getvalue()


def _cell(data: DataSet, entry: Entry, before: str) -> str:
    """Returns the label cell of a CSV: unchanged if it means the same, else names if it had names, else numbers."""
    names = data.names or []
    cells = (cell.strip() for cell in (before.split(SEPARATOR) if data.multi_label else [before]))
    parts = {read_label(cell, where="") for cell in cells if cell != NONE} - {None}
    numbers = bool(parts) and all(is_number(part) and part not in names for part in parts if part)
    labels = [str(label) if numbers or not names else names[label] for label in entry.labels]
    return before if set(labels) == parts else SEPARATOR.join(labels) or NONE


def _remove_classes(data: DataSet, empty: list[int]) -> None:
    """Removes classes: later labels move up, and validation videos of a removed class are dropped.

    With multi_label such videos only lose that class.
    """
    if not empty:
        return
    known = {fault.message for fault in data.faults}
    for label in empty:
        # dropped lines may have left this class without a training video
        if (message := hole(data, label)) not in known:
            data.faults.append(Fault("class_hole", message, "train", fix="the class is removed"))
    gone = set(empty)
    highest = max(max(gone), max(labels_of(data.entries), default=0))
    new: dict[int, int] = {}
    for label in range(highest + 1):
        if label not in gone:
            new[label] = len(new)
    for entry in data.entries:
        if gone.intersection(entry.labels) and not data.multi_label:
            entry.drop = True
        elif not entry.drop:
            entry.labels = tuple(new.get(label, label) for label in entry.labels if label not in gone)  # -1 stays
    if data.names is not None:
        data.names = [name for label, name in enumerate(data.names) if label not in gone]
        data.num_class = len(data.names)


def _quoted(path: str) -> str:
    """Puts a path that begins and ends with a quotation mark into quotes, because a reader would remove its marks."""
    return '"' + path.replace('"', '""') + '"' if path.startswith('"') and path.endswith('"') else path


def _replace(file: Path, text: str) -> list[Path]:
    data = text.encode("utf-8", "surrogateescape")
    if file.read_bytes() == data:
        return []
    original = file.with_name(file.name + ".orig")
    try:
        if not original.exists():  # a second repair must not replace the first original
            with atomic_write(original) as copy:
                copy.write(file.read_bytes())
        with atomic_write(file) as out:
            out.write(data)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from error
    return [file]
