"""Reads lists of encoded videos: `path label` lines, a tree of class folders, or a CSV such as the one of Kinetics.

The names that columns of such tables have, and the suffixes of video files, are also defined here.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.lists.class_names import find_class_file, read_class_file
from datasets.lists.parser import label_columns
from datasets.lists.records import RecordList, check_labels, read_list
from utils.errors import ListError
from utils.scoring.label_sets import NONE, SEPARATOR, LabelSets, label_sets

_SUFFIXES = "3gp asf avi divx flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv y4m"
VIDEO_SUFFIXES = frozenset("." + suffix for suffix in _SUFFIXES.split())
IDS = frozenset({"video_id", "youtube_id"})  # columns with file names without folder and suffix
_SEVERAL = {"labels", "classes", "actions"}
# names that a column may have, in published data sets and in tables written by hand
KNOWN = {
    "path": {"file", "filename", "file_name", "path", "video", "video_name", "video_path", "name", "clip", *IDS},
    "label": {"label", "class", "class_name", "classname", "label_name", "category", "action", "target", *_SEVERAL},
    "start": {"start", "time_start", "start_time", "t_start"},
    "end": {"end", "time_end", "end_time", "t_end"},
    "split": {"split", "subset", "set"},
}
_log = logging.getLogger(__name__)


def read_videos(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = "/",
    num_class: int | None = None,
    class_names: str | os.PathLike[str] | None = None,
    multi_label: bool = False,
    unlabelled: bool = False,
) -> tuple[RecordList, list[str] | None]:
    """Reads the videos of `source` and their class names; the names are None if they are unknown.

    source: one of
        - a list of `path label` lines;
        - a folder with one folder of videos per class, classes in alphabetical order;
        - a CSV whose header names a path column and a label column. Columns for start and end, in seconds, make a
          record of only that part of a video. A column youtube_id or video_id names files below `root` without folder
          and suffix; crawlers of Kinetics add the seconds to the name (`ID_000010_000020.mp4`), and the whole of such
          a file is taken. Labels are names or numbers; names are numbered by the class file if there is one, else in
          alphabetical order.
    multi_label: whether videos have sets of classes: `path 3;7;12` lines, `run;jump` cells in a CSV, `-` for the empty
        set. CSV rows with the same path and seconds are joined.
    unlabelled: whether the class of a video may be unknown, which is written -1. In a CSV the label column may then be
        absent, and an empty cell means unknown (with `multi_label` it means the empty set).

    Raises ListError.
    """
    source = Path(source)
    table = None if source.is_dir() or source.suffix.lower() != ".csv" else read_table(source)
    if not source.is_dir() and table is None:
        file = Path(class_names) if class_names else find_class_file(source, root)
        columns = label_columns(("label",), multi_label=multi_label)
        records = read_list(source, root=root, num_class=num_class, columns=columns, unlabelled=unlabelled)
        return records, read_class_file(file) if file else None
    if table is None:
        entries, root = _class_folders(source), source
    else:
        entries = _table_entries(source, Path(root), *table, unlabelled=unlabelled, multi_label=multi_label)
    if multi_label:
        entries = _joined(entries)
    names = _names(source, root, {name for entry in entries for name in entry.classes or ()}, class_names)
    labels = _labels(source, entries, names)
    highest = max((label for row in labels for label in row), default=-1)
    if num_class is not None and highest >= num_class:
        raise ListError(f"{source}: has {highest + 1} classes, but model.num_class is {num_class}")
    sets = label_sets(labels, num_class or highest + 1)
    records = _records(source, root, entries, sets if multi_label else sets.flat)
    check_labels(records, num_class, unlabelled=unlabelled)
    return records, names


@dataclass(frozen=True)
class Entry:
    """Holds one video of a table.

    path: below the root.
    classes: names or numbers as written; None if they are unknown.
    line: its line in the table, for messages.
    span: start and end in seconds; None for the whole video.
    """

    path: str
    classes: tuple[str, ...] | None
    line: int
    span: tuple[float, float] | None = None


def _joined(entries: list[Entry]) -> list[Entry]:
    """Joins the entries with the same path and seconds; the joined entry has the classes of all of them, each once."""
    found: dict[tuple[str, tuple[float, float] | None], Entry] = {}
    for entry in entries:
        before = found.setdefault((entry.path, entry.span), entry)
        if entry.classes is not None:
            classes = tuple(dict.fromkeys((*(before.classes or ()), *entry.classes)))
            found[entry.path, entry.span] = replace(before, classes=classes)
    return list(found.values())


def _class_folders(folder: Path) -> list[Entry]:
    entries = []
    for name in sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
        for file in sorted((folder / name).rglob("*")):
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
                entries.append(Entry(str(file.relative_to(folder)), (name,), 0))
    if not entries:
        raise ListError(f"{folder}: no videos in class folders; expected {folder.name}/<class>/<video>")
    return entries


def read_table(source: Path) -> tuple[list[str], list[list[str]]] | None:
    """Returns the header and the rows of a CSV; None if `source` has `path label` lines without a header.

    PySlowFast and PyTorchVideo write such lines. Raises ListError.
    """
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [*csv.reader(file)] or [[]]
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}; check train_source / val_source") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{source}: is not a CSV file: {error}") from None
    words = " ".join(header).split()
    return None if len(words) > 1 and words[-1].removeprefix("-").replace(SEPARATOR, "").isdecimal() else (header, rows)


def _table_entries(
    source: Path, root: Path, header: list[str], rows: list[list[str]], *, unlabelled: bool, multi_label: bool
) -> list[Entry]:
    columns = find_columns(header)
    if "path" not in columns or not (unlabelled or "label" in columns):
        raise ListError(
            f"{source}:1: the header must name a label column and a path column (or, as Kinetics does, youtube_id, "
            f"time_start and time_end); found {', '.join(header) or 'nothing'}"
        )
    entries = []
    for line, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        if len(cells) <= max(columns.values()):
            raise ListError(f"{source}:{line}: has {len(cells)} columns, but the header has {len(header)}")
        classes = _classes(cells[columns["label"]].strip(), multi_label=multi_label) if "label" in columns else None
        entries.append(Entry(cells[columns["path"]], classes, line, _span(cells, columns, where=f"{source}:{line}")))
    if not entries:
        raise ListError(f"{source}: the list is empty")
    return _found(source, root, entries) if normal_name(header[columns["path"]]) in IDS else entries


def _classes(cell: str, *, multi_label: bool) -> tuple[str, ...] | None:
    if cell == "-1" or not (cell or multi_label):
        return None
    if not multi_label:
        return (cell,)
    names = [] if cell == NONE else [name.strip() for name in cell.split(SEPARATOR)]
    return tuple(dict.fromkeys(name for name in names if name))


def _span(cells: list[str], columns: dict[str, int], *, where: str) -> tuple[float, float] | None:
    texts = [cells[columns[key]].strip() if key in columns else "" for key in ("start", "end")]
    if not any(texts):
        return None
    try:
        start, end = map(float, texts)
    except ValueError:
        raise ListError(f"{where}: time_start and time_end must be seconds, found {' and '.join(texts)!r}") from None
    if not 0 <= start < end < float("inf"):
        raise ListError(f"{where}: start {start:g} and end {end:g} are not an interval of seconds")
    return start, end


def _found(source: Path, root: Path, entries: list[Entry]) -> list[Entry]:
    """Returns the entries with the files that their ids stand for.

    Entries without a file are left out with one warning, because videos disappear from YouTube.
    """
    if not root.is_dir():
        raise ListError(f"{root}: folder not found; check train_root / val_root")
    there = {
        file.stem: str(file.relative_to(root)) for file in root.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES
    }
    found = []
    for entry in entries:
        cut = there.get(cut_name(entry.path, *entry.span)) if entry.span else None
        path = there.get(entry.path) or there.get(f"v_{entry.path}")  # ActivityNet's crawler adds v_
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


def _labels(source: Path, entries: list[Entry], names: list[str] | None) -> list[list[int]]:
    index = {name: label for label, name in enumerate(names)} if names else {}
    labels = []
    for entry in entries:
        classes = entry.classes if entry.classes is not None else ()
        if unknown := [name for name in classes if name not in index and not name.isdecimal()]:
            raise ListError(f"{source}:{entry.line}: class {unknown[0]!r} is not in the class file")
        row = [index[name] if name in index else int(name) for name in classes]
        labels.append(row if entry.classes is not None else [-1])
    return labels


def _names(
    source: Path, root: str | os.PathLike[str], found: set[str], class_names: str | os.PathLike[str] | None
) -> list[str] | None:
    file = Path(class_names) if class_names else find_class_file(source, root)
    if file is not None:
        return read_class_file(file)
    return None if all(name.isdecimal() for name in found) else sorted(found)


def _records(
    source: Path, root: str | os.PathLike[str], entries: list[Entry], labels: np.ndarray | LabelSets
) -> RecordList:
    encoded = [os.fsencode(entry.path) for entry in entries]
    spans = np.array([entry.span or (np.nan, np.nan) for entry in entries], np.float64)
    return RecordList(
        source,
        root,
        blob=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.concatenate([[0], np.cumsum([len(path) for path in encoded])]).astype(np.int64),
        num_frames=np.zeros(len(entries), np.int32),
        labels=labels,
        lines=np.array([entry.line for entry in entries], np.int32),
        spans=None if np.isnan(spans).all() else spans,
    )


def find_columns(header: Sequence[str]) -> dict[str, int]:
    """Returns the position of each known column by its key in KNOWN; the first of several columns for a key counts."""
    names = [normal_name(cell) for cell in header]
    found: dict[str, int] = {}
    for key, known in KNOWN.items():
        places = [place for place, name in enumerate(names) if name in known]
        if places:
            found[key] = places[0]
    return found


def normal_name(cell: str) -> str:
    """Returns a column's name in the form that KNOWN uses."""
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def cut_name(video: str, start: float, end: float) -> str:
    """Returns the name that crawlers of Kinetics give to a file with only these seconds of a video."""
    return f"{video}_{round(start):06d}_{round(end):06d}"
