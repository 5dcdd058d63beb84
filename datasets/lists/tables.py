"""Reads lists of videos without their numbers of frames: `path label` lines, a tree of class folders, or a CSV.

What columns and cells mean is in columns.py; the suffixes of video files are also defined here.
"""

from __future__ import annotations

import csv
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.lists.checks import check_labels, check_paths, check_spelling
from datasets.lists.class_names import Classes, find_classes
from datasets.lists.columns import (
    FRAMES,
    IDS,
    check_width,
    composed,
    delimiter_of,
    find_columns,
    is_number,
    normal_name,
    read_label,
)
from datasets.lists.parser import label_columns
from datasets.lists.records import RecordList, read_list
from datasets.lists.row_spans import span_of_row
from datasets.lists.shards import is_shards, labels_in, read_shards
from datasets.lists.shared_classes import join_classes, share_classes
from datasets.places.place import Place, is_address, place
from utils.errors import ListError
from utils.files import find_files, no_pipe
from utils.scoring.label_sets import NONE, SEPARATOR, LabelSets, label_sets

_SUFFIXES = "3gp asf avi divx flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv y4m"
VIDEO_SUFFIXES = frozenset("." + suffix for suffix in _SUFFIXES.split())
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
TABLES = frozenset({".csv", ".tsv"})
_log = logging.getLogger(__name__)
Table = tuple[list[str], list[list[str]]]  # header, rows


def number_classes(
    lists: Sequence[tuple[str | os.PathLike[str], str | os.PathLike[str]]],
    *,
    file: str | os.PathLike[str] | None = None,
    multi_label: bool = False,
) -> Classes | None:
    """Returns the classes of an experiment: those of its class file, else the names in its first list, sorted.

    lists: (source, root) of its lists, the training list first. file: the class file, see `find_classes`.

    Returns None if labels are numbers and no class file names them. Raises ListError.
    """
    if (named := find_classes(lists, file=file)) is not None:
        return named
    source = next((source for source, _ in lists if is_shards(source) or Path(source).exists()), None)
    if source is None:
        return None
    names: set[str] = set()
    if is_shards(source):
        names = {
            name
            for label in labels_in(source)
            for name in _classes(label, multi_label=multi_label, where=f"{source}") or ()
        }
    else:
        source = Path(source)
        table = _table_of(source)
        entries: list[Entry] = []
        if source.is_dir():
            entries = _class_folders(source)
        elif table is not None:
            entries = _table_entries(source, *table, unlabelled=True, multi_label=multi_label)
        names = {name for entry in entries for name in entry.classes or ()}
    return None if all(map(is_number, names)) else Classes(sorted(names), place(source), from_list=True)


def read_videos(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = "/",
    num_class: int | None = None,
    classes: Classes | None = None,
    multi_label: bool = False,
    unlabelled: bool = False,
    columns: tuple[str, ...] = ("label",),
    encoded: bool = True,
    empty: bool = False,
    table: Table | None = None,
    shared: bool = True,
    alone: bool = True,
) -> tuple[RecordList, list[str] | None]:
    """Reads the videos of `source` and their class names; the names are None if they are unknown.

    source: one of
        - a list of lines, a path and the numbers in `columns`, as `read_list` takes them;
        - a folder with one folder per class, with videos anywhere below it;
        - tars of samples, see shards.py;
        - a CSV whose header names a path column and a label column; commas, semicolons or tabs separate them. Columns
          start and end, in seconds, or start_frame and end_frame make a record a span of its video. A column youtube_id
          or video_id names files below `root` without folder and suffix; crawlers of Kinetics add the seconds to the
          name (`ID_000010_000020.mp4`), and the whole of such a file is taken. Labels are names or numbers.
    classes: what names are numbered by, which must be the same for all lists of an experiment.
    multi_label: whether videos have sets of classes: `path 3;7;12` lines, `run;jump` cells in a CSV, `-` for the empty
        set. CSV rows share their classes, see shared_classes.py.
    unlabelled: whether the class of a video may be unknown, which is written -1. In a CSV the label column may then be
        absent, and an empty cell means unknown (with `multi_label` it means the empty set).
    encoded: whether the paths are video files; otherwise ids are paths, too.
    empty: whether a row of a CSV may have neither a label nor a span, for a video without spans; its label is -1.
    table: header and rows of a CSV in place of those of the file; empty rows are left out.
    shared: whether, with `multi_label`, a span also has the classes of the spans that cover it.
    alone: whether it numbers its own names without `classes`; not where other lists decide what a number means.

    Raises ListError.
    """
    given = source
    if classes is None and alone:
        classes = number_classes([(source, root)], multi_label=multi_label)
    names = classes.names if classes is not None else None
    source = Path(given)
    if table is None and not is_shards(given):
        table = _table_of(source)
    if is_shards(given):
        suffixes = VIDEO_SUFFIXES if encoded else IMAGE_SUFFIXES
        root, entries = _shard_entries(given, suffixes, unlabelled=unlabelled, multi_label=multi_label)
    elif not source.is_dir() and table is None:
        columns = label_columns(columns, multi_label=multi_label)
        return read_list(source, root=root, num_class=num_class, columns=columns, unlabelled=unlabelled), names
    elif table is None:
        entries, root = _class_folders(source), source
    else:
        entries = _table_entries(source, *table, unlabelled=unlabelled, multi_label=multi_label, empty=empty)
        if encoded and normal_name(table[0][find_columns(table[0], where=f"{source}:1")["path"]]) in IDS:
            entries = _found(source, root, entries)
    if multi_label:
        entries = _one_for_each_span(entries, shared=shared)
    labels = _labels(given, entries, classes)
    highest = max((label for row in labels for label in row), default=-1)
    sets = label_sets(labels, num_class or highest + 1)
    records = _records(given, root, entries, sets if multi_label else sets.flat)
    check_paths(records)
    check_spelling(records)
    check_labels(records, num_class, unlabelled=unlabelled or empty)
    return records, names


@dataclass(frozen=True)
class Entry:
    """Holds one video of a table.

    path: below the root.
    classes: names or numbers as written; None if they are unknown.
    line: its line in the table, for messages.
    span: start and end in seconds; None for the whole video.
    in_frames: whether the span is in frames instead.
    """

    path: str
    classes: tuple[str, ...] | None
    line: int
    span: tuple[float, float] | None = None
    in_frames: bool = False


def _one_for_each_span(entries: list[Entry], *, shared: bool) -> list[Entry]:
    """Returns one entry for each span, with the classes of all its rows. shared: with all that its frames show."""
    spans, classes = [entry.span for entry in entries], [entry.classes for entry in entries]
    found = (share_classes if shared else join_classes)([entry.path for entry in entries], spans, classes)
    return [replace(entries[place], classes=names) for place, names in found.items()]


def is_table(source: str | os.PathLike[str]) -> bool:
    """Returns whether a list is a CSV with a header, from its first line. Raises ListError if it cannot be read."""
    source = Path(source)
    if source.suffix.lower() not in TABLES or source.is_dir():
        return False
    try:
        with no_pipe(source).open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
            return not _is_line(next(csv.reader([line], delimiter=delimiter_of(line)), []), delimiter_of(line))
    except OSError as error:
        raise _unreadable(source, error) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{source}: is not a CSV file: {error}") from None


def _unreadable(source: str | os.PathLike[str], error: OSError) -> ListError:
    return ListError(f"{source}: cannot be read: {error.strerror}; check train_source / val_source")


def _is_line(cells: list[str], delimiter: str) -> bool:
    """Returns whether the first row of a CSV is a line `path label`, as PySlowFast and PyTorchVideo write them."""
    words = " ".join(cells).split()
    numbered = len(words) > 1 and words[-1].removeprefix("-").replace(SEPARATOR, "").isdecimal()
    return numbered and delimiter != SEPARATOR


def _class_folders(folder: Path) -> list[Entry]:
    files = list(find_files(folder, VIDEO_SUFFIXES))
    entries = [Entry(str(file), (composed(file.parts[0]),), 0) for file in files if len(file.parts) > 1]
    if not entries:
        raise ListError(f"{folder}: no videos in class folders; expected {folder.name}/<class>/<video>")
    if loose := [file for file in files if len(file.parts) == 1]:
        raise ListError(
            f"{folder}: {loose[0]} lies beside the class folders and has no class; move it into one of them"
        )
    return entries


def _shard_entries(
    source: str | os.PathLike[str], suffixes: Collection[str], *, unlabelled: bool, multi_label: bool
) -> tuple[Place, list[Entry]]:
    """Returns the folder of shards, and their samples; `line` counts these."""
    folder, samples = read_shards(source, suffixes)
    entries = []
    for number, sample in enumerate(samples, 1):
        where = f"{folder}/{sample.path}"
        if not (sample.label or unlabelled):
            raise ListError(
                f"{where}: has no label, neither a .cls nor `label` in a .json nor a .txt of one short line"
            )
        classes = _classes(sample.label, multi_label=multi_label, where=where) if sample.label else None
        entries.append(Entry(sample.path, classes, number))
    return folder, entries


def first_suffix(source: str | os.PathLike[str]) -> str:
    """Returns the suffix of the path in the first line of a list if it is `path label`, in lower case, such as .mp4.

    Raises ListError if the list cannot be read.
    """
    try:
        with no_pipe(source).open("rb") as file:
            line = next((line for line in file if line.strip()), b"").decode("utf-8", "replace")
    except OSError as error:
        raise _unreadable(source, error) from None
    words = line.replace(",", " ").replace('"', " ").split()
    return Path(" ".join(words[:-1])).suffix.lower() if len(words) > 1 else ""


def _table_of(source: Path) -> Table | None:
    return None if source.is_dir() or source.suffix.lower() not in TABLES else read_table(source)


def read_table(source: Path) -> Table | None:
    """Returns the header and the rows of a CSV; None if `source` has lines without a header. Raises ListError."""
    try:
        with no_pipe(source).open(encoding="utf-8-sig", newline="") as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            try:
                header, *rows = [*reader] or [[]]
            except csv.Error as error:
                raise ListError(f"{source}:{reader.line_num}: cannot be read as a table ({error})") from None
    except OSError as error:
        raise _unreadable(source, error) from None
    except UnicodeDecodeError as error:
        raise ListError(f"{source}: is not a CSV file: {error}") from None
    return None if _is_line(header, delimiter) else (header, rows)


def _table_entries(
    source: Path,
    header: list[str],
    rows: list[list[str]],
    *,
    unlabelled: bool,
    multi_label: bool,
    empty: bool = False,
) -> list[Entry]:
    columns = find_columns(header, where=f"{source}:1")
    if "path" not in columns or not (unlabelled or "label" in columns):
        raise ListError(
            f"{source}:1: the header must name a label column and a path column (or, as Kinetics does, youtube_id, "
            f"time_start and time_end); found {', '.join(header) or 'nothing'}; rename the columns that hold them"
        )
    entries = []
    for line, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        where = f"{source}:{line}"
        check_width(cells, header, least=max(columns.values()) + 1, where=where)
        label = cells[columns["label"]].strip() if "label" in columns else ""
        unknown = "label" not in columns or not (label or multi_label)
        classes = None if unknown else _classes(label, multi_label=multi_label, where=where)
        span = span_of_row(cells, columns, where=where)
        if empty and not unlabelled and classes is None and (label or span is not None):
            way_out = "give it one, or leave label, start and end empty where nothing happens in the whole video"
            raise ListError(f"{where}: {cells[columns['path']]!r} has no class; {way_out}")
        entries.append(Entry(cells[columns["path"]], classes, line, span, FRAMES[0] in columns))
    if not entries:
        raise ListError(f"{source}: the list is empty")
    return entries


def _classes(cell: str, *, multi_label: bool, where: str) -> tuple[str, ...] | None:
    """Returns the classes in a cell; None if they are unknown."""
    if not multi_label or SEPARATOR not in cell:
        if multi_label and cell in ("", NONE):
            return ()
        label = read_label(cell, where=where)
        return None if label is None else (label,)
    labels = [read_label(part, where=where) or "-1" for part in cell.split(SEPARATOR) if part.strip()]
    return tuple(dict.fromkeys(labels))


def _found(source: Path, root: str | os.PathLike[str], entries: list[Entry]) -> list[Entry]:
    """Returns the entries with the files that their ids stand for.

    Entries without a file are left out with one warning, because videos disappear from YouTube.
    """
    if is_address(root):
        raise ListError(
            f"{source}:1: its ids stand for files that are looked for in a folder on a disk, and {root} is an address; "
            "copy the videos to a disk, or name each file in a column `path`"
        )
    root = Path(root)
    if not root.is_dir():
        raise ListError(f"{root}: folder not found; check train_root / val_root")
    there: dict[str, list[str]] = defaultdict(list)
    for file in find_files(root, VIDEO_SUFFIXES):
        there[composed(file.stem)].append(str(file))

    def file_of(name: str, entry: Entry) -> str | None:
        if len(files := there.get(composed(name), [])) > 1:
            raise ListError(f"{source}:{entry.line}: {name} may be {files[0]} or {files[1]} below {root}; remove one")
        return files[0] if files else None

    found = []
    for entry in entries:
        cut = file_of(cut_name(entry.path, *entry.span), entry) if entry.span and not entry.in_frames else None
        path = file_of(entry.path, entry) or file_of(f"v_{entry.path}", entry)  # ActivityNet's crawler adds v_
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


def _labels(source: str | os.PathLike[str], entries: list[Entry], classes: Classes | None) -> list[list[int]]:
    index = {name: label for label, name in enumerate(classes.names)} if classes is not None else {}
    counted = classes is None or not classes.from_list  # numbers are labels, unless a list has names instead

    def label(name: str, entry: Entry) -> int:
        if name in index or (counted and is_number(name)):
            return index[name] if name in index else int(name)
        where = f"{source}:{entry.line}" if entry.line else f"{source}: {entry.path}"
        if classes is None:
            raise ListError(
                f"{where}: class {name!r} has no number: the training list has numbers, and there is no class file "
                "(data.class_names)"
            )
        more = "; rename it or add it there (tools/check_data.py names all such rows)"
        if classes.from_list:
            more = "; name all classes in a class file (data.class_names), or leave its videos out"
        raise ListError(f"{where}: class {name!r} is not in {classes.source}, which numbers the classes{more}")

    return [[-1] if entry.classes is None else [label(name, entry) for name in entry.classes] for entry in entries]


def _records(
    source: str | os.PathLike[str], root: str | os.PathLike[str], entries: list[Entry], labels: np.ndarray | LabelSets
) -> RecordList:
    encoded = [os.fsencode(entry.path) for entry in entries]
    num_frames, first = np.zeros(len(entries), np.int32), None
    if entries[0].in_frames:
        spans = np.array([entry.span or (-1, -1) for entry in entries], np.int32)
        num_frames, first = spans[:, 1] - spans[:, 0], np.maximum(spans[:, 0], 0)
    else:
        spans = np.array([entry.span or (np.nan, np.nan) for entry in entries], np.float64)
    whole = all(entry.span is None for entry in entries)
    return RecordList(
        source,
        root,
        blob=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.concatenate([[0], np.cumsum([len(path) for path in encoded])]).astype(np.int64),
        num_frames=num_frames,
        labels=labels,
        lines=np.array([entry.line for entry in entries], np.int32),
        spans=None if whole else spans,
        first=None if whole else first,
    )


def cut_name(video: str, start: float, end: float) -> str:
    """Returns the name that crawlers of Kinetics give to a file with only these seconds of a video."""
    return f"{video}_{round(start):06d}_{round(end):06d}"
