"""Lists of encoded videos: `path label` lines, a tree of class folders, or a CSV such as the one of Kinetics."""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.class_names import find_class_file, read_class_file
from datasets.records import RecordList, check_labels, read_list
from datasets.video_columns import IDS, cut_name, find_columns, normal_name
from utils.errors import ListError
from utils.video import VIDEO_SUFFIXES

_log = logging.getLogger(__name__)


def read_videos(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = "/",
    num_class: int | None = None,
    class_names: str | os.PathLike[str] | None = None,
    unlabelled: bool = False,
) -> tuple[RecordList, list[str] | None]:
    """The videos of `source` and their class names, if they are known.

    source: a list of `path label` lines; a folder with one folder of videos per class, classes in alphabetical order;
    a CSV whose header names a path and a label column, and perhaps start and end in seconds, which make a record of
    these seconds only. A column youtube_id or video_id names files below `root` without folder and suffix; Kinetics'
    crawlers add the seconds to the name (`ID_000010_000020.mp4`), and such a file is taken whole. Labels in a CSV are
    names or numbers; names get their index from the class file if there is one, else in alphabetical order.
    unlabelled: whether videos may have no label: -1 in a list, an empty cell or no such column in a CSV.

    Raises ListError.
    """
    source = Path(source)
    table = None if source.is_dir() or source.suffix.lower() != ".csv" else _read_csv(source)
    if not source.is_dir() and table is None:
        file = Path(class_names) if class_names else find_class_file(source, root)
        records = read_list(source, root=root, num_class=num_class, columns=("label",), unlabelled=unlabelled)
        return records, read_class_file(file) if file else None
    if table is None:
        entries, root = _class_folders(source), source
    else:
        entries = _table_entries(source, Path(root), *table, unlabelled=unlabelled)
    names = _names(source, root, {entry.label for entry in entries} - {""}, class_names)
    records = _records(source, root, entries, _labels(source, entries, names))
    if num_class is not None and records.labels.max() >= num_class:
        raise ListError(f"{source}: has {records.labels.max() + 1} classes, but model.num_class is {num_class}")
    check_labels(records, num_class, unlabelled=unlabelled)
    return records, names


@dataclass(frozen=True)
class Entry:
    """path: below the root. label: as written, "" if there is none. span: seconds, None for the whole video."""

    path: str
    label: str
    line: int
    span: tuple[float, float] | None = None


def _class_folders(folder: Path) -> list[Entry]:
    entries = []
    for name in sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
        for file in sorted((folder / name).rglob("*")):
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
                entries.append(Entry(str(file.relative_to(folder)), name, 0))
    if not entries:
        raise ListError(f"{folder}: no videos in class folders here; expected {folder.name}/<class>/<video>")
    return entries


def _read_csv(source: Path) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows; None for lines without a header, `path label` as PySlowFast and PyTorchVideo write them."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [*csv.reader(file)] or [[]]
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}; check train_source / val_source") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{source}: is not a CSV file: {error}") from None
    words = " ".join(header).split()
    return None if len(words) > 1 and words[-1].removeprefix("-").isdecimal() else (header, rows)


def _table_entries(
    source: Path, root: Path, header: list[str], rows: list[list[str]], *, unlabelled: bool
) -> list[Entry]:
    columns = find_columns(header)
    if "path" not in columns or not (unlabelled or "label" in columns):
        raise ListError(
            f"{source}:1: the header must have a label column and path, or youtube_id, time_start and time_end as "
            f"Kinetics has; found {', '.join(header) or 'nothing'}"
        )
    entries = []
    for line, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        if len(cells) <= max(columns.values()):
            raise ListError(f"{source}:{line}: {len(cells)} columns, the header has {len(header)}")
        label = cells[columns["label"]].strip() if "label" in columns else ""
        entries.append(Entry(cells[columns["path"]], label, line, _span(cells, columns, where=f"{source}:{line}")))
    if not entries:
        raise ListError(f"{source}: the list is empty")
    return _found(source, root, entries) if normal_name(header[columns["path"]]) in IDS else entries


def _span(cells: list[str], columns: dict[str, int], *, where: str) -> tuple[float, float] | None:
    texts = [cells[columns[key]].strip() if key in columns else "" for key in ("start", "end")]
    if not any(texts):
        return None
    try:
        start, end = map(float, texts)
    except ValueError:
        raise ListError(f"{where}: time_start and time_end must be seconds, found {' and '.join(texts)!r}") from None
    if not 0 <= start < end < float("inf"):
        raise ListError(f"{where}: start {start:g} and end {end:g} are no interval of seconds")
    return start, end


def _found(source: Path, root: Path, entries: list[Entry]) -> list[Entry]:
    """Entries with the files their ids stand for; those without one (videos vanish from YouTube) make one warning."""
    if not root.is_dir():
        raise ListError(f"{root}: folder not found; check train_root / val_root")
    there = {
        file.stem: str(file.relative_to(root)) for file in root.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES
    }
    found = []
    for entry in entries:
        cut = there.get(cut_name(entry.path, *entry.span)) if entry.span else None
        path = there.get(entry.path) or there.get(f"v_{entry.path}")  # the second as ActivityNet's crawler has it
        if cut is not None:
            found.append(replace(entry, path=cut, span=None))
        elif path is not None:
            found.append(replace(entry, path=path))
    missing = len(entries) - len(found)
    if not found:
        raise ListError(f"{source}: none of its {missing} videos is below {root}; check train_root / val_root")
    if missing:
        _log.warning("%s: %d of %d videos are not below %s and are left out", source, missing, len(entries), root)
    return found


def _labels(source: Path, entries: list[Entry], names: list[str] | None) -> list[int]:
    index = {name: label for label, name in enumerate(names)} if names else {}
    labels = []
    for entry in entries:
        if entry.label and entry.label not in index and not entry.label.isdecimal():
            raise ListError(f"{source}:{entry.line}: class {entry.label!r} is not in the class file")
        labels.append(index[entry.label] if entry.label in index else int(entry.label or -1))
    return labels


def _names(
    source: Path, root: str | os.PathLike[str], found: set[str], class_names: str | os.PathLike[str] | None
) -> list[str] | None:
    file = Path(class_names) if class_names else find_class_file(source, root)
    if file is not None:
        return read_class_file(file)
    return None if all(name.isdecimal() for name in found) else sorted(found)


def _records(source: Path, root: str | os.PathLike[str], entries: list[Entry], labels: list[int]) -> RecordList:
    encoded = [os.fsencode(entry.path) for entry in entries]
    spans = np.array([entry.span or (np.nan, np.nan) for entry in entries], np.float64)
    return RecordList(
        source,
        root,
        blob=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.concatenate([[0], np.cumsum([len(path) for path in encoded])]).astype(np.int64),
        num_frames=np.zeros(len(entries), np.int32),
        labels=np.array(labels, np.int32),
        lines=np.array([entry.line for entry in entries], np.int32),
        spans=None if np.isnan(spans).all() else spans,
    )
