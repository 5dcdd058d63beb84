"""Reads the classes of videos from CSV files, lists and JSON files."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.lists.columns import check_width, composed, find_columns, normal_name, read_label, read_seconds
from datasets.lists.tables import VIDEO_SUFFIXES, cut_name
from tools.listing.annotations import read_json
from tools.listing.splits import SPLITS
from utils.errors import ListError
from utils.files import no_pipe
from utils.scoring.label_sets import NONE, SEPARATOR

_SECONDS = re.compile(r"(?:\s+\d+(?:\.\d+)?){2}$")  # begin and end of an action in Charades
_LABELS = re.compile(rf"\d+(?:{SEPARATOR}\d+)*|{NONE}")


@dataclass(frozen=True)
class LabelRow:
    """Holds one row of an annotation file.

    name: the video as written.
    label: its class as written; "" for a video of a test set whose class is not published.
    start, end: seconds of the part that is meant; None for the whole video.
    split: as written; "" if neither the file nor its name gives one.
    line: its line; in a JSON file, the number of the annotation.
    """

    name: str
    label: str
    start: float | None
    end: float | None
    split: str
    line: int


def read_labels(path: Path, *, multi_label: bool = False, note: Callable[[str], None] = print) -> list[LabelRow]:
    """Reads the rows of an annotation file.

    A text file has `file,label` rows, with or without a header line; a header may also name start and end (seconds) and
    split. Commas, semicolons or tabs separate the columns; without any of them a line is `path label` or
    `path num_frames label`, as mmaction2, PySlowFast and TSM write it. A JSON file has the form of ActivityNet,
    Kinetics, Something-Something or mmaction2.

    If the name of the file contains train, val or test, its rows get that split. A label of -1 or nan is unknown, and
    in a test file it may be empty or absent. A number such as 2.0 is 2.

    multi_label: whether semicolons separate classes. An empty label is then `-`, the empty set, except in a test file,
        and a column `id` names the videos, as in the CSV of Charades.
    note: is called with a message about columns or fields that are not read.

    Raises ListError with file and line for anything else.
    """
    named = next((SPLITS[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in SPLITS), "")
    if path.suffix.lower() == ".json":
        annotations, unread = read_json(path)
        rows = []
        for number, (name, label, start, end, split) in enumerate(annotations, 1):
            label = read_label(label, where=f"{path}:{number}") or ""
            rows.append(LabelRow(composed(name), label, start, end, split or named, number))
        if not rows:
            raise ListError(f"{path}: no video in it")
    else:
        rows, unread = _read_text(path, named, multi_label=multi_label)
    if unread:
        note(f"{path}: not read: {', '.join(unread)}")
    return rows


def _read_text(path: Path, named: str, *, multi_label: bool) -> tuple[list[LabelRow], list[str]]:
    try:
        text = no_pipe(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in ("\t," if multi_label else "\t;,") if mark in head), "")
    rows = _cells(path, lines, delimiter) if delimiter else map(_words, lines)
    columns: dict[str, int] | None = None
    first: list[str] = []
    result: list[LabelRow] = []
    unread: list[str] = []
    for number, cells in enumerate(rows, 1):
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        where = f"{path}:{number}"
        if columns is None:
            first = cells
            columns, is_header = _columns(cells, where=where, is_test=named == "test", multi_label=multi_label)
            if is_header:
                unread = [cell for place, cell in enumerate(cells) if cell and place not in columns.values()]
                continue
        check_width(cells, first, least=max(columns.values()) + 1, where=where)
        name, label = cells[columns["path"]], cells[columns["label"]] if "label" in columns else ""
        start, end = _seconds(cells, columns, "start", where=where), _seconds(cells, columns, "end", where=where)
        if (start is None) != (end is None) or (start is not None and end is not None and not 0 <= start < end):
            raise ListError(f"{where}: start {start} and end {end} are not an interval of seconds")
        split = (cells[columns["split"]].lower() if "split" in columns else "") or named
        if multi_label and not label and SPLITS.get(split) != "test":
            label = NONE
        if not name or not (label or SPLITS.get(split) == "test"):
            raise ListError(f"{where}: the {'label' if name else 'file'} is empty")
        label = composed(label) if multi_label and label != "-1" else read_label(label, where=where) or ""
        result.append(LabelRow(composed(name), label, start, end, split, number))
    if not result:
        raise ListError(f"{path}: no rows; expected lines like `some video.mp4,class name`")
    return result, unread


def _cells(path: Path, lines: list[str], delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        yield from reader
    except csv.Error as error:
        raise ListError(f"{path}:{reader.line_num}: cannot be read as a table ({error})") from error


def labelled_rows(
    paths: Iterable[Path], *, unlabelled: bool = False, multi_label: bool = False
) -> Iterator[tuple[str, LabelRow]]:
    """Yields ("file:line", row) for the rows of several files.

    Rows without a label are yielded if `unlabelled`; otherwise their number is printed.
    """
    for path in paths:
        left = 0
        for row in read_labels(path, multi_label=multi_label):
            if row.label or unlabelled:
                yield f"{path}:{row.line}", row
            else:
                left += 1
        if left:
            print(f"{path}: {left} videos have no label and are left out; --unlabelled includes them")


def split_labels(text: str) -> list[str]:
    """Returns the classes in one cell: `run;jump`, `3,7,12` or Charades' `c092 11.90 21.20;c147 0.00 12.60`.

    The cell `-` is the empty set. Commas separate numbers only, because names may contain commas.
    """
    numbers = [part.strip() for part in text.split(",")]
    if all(part.isascii() and part.isdigit() for part in numbers):
        return list(dict.fromkeys(numbers))
    names = [_SECONDS.sub("", part.strip()) for part in text.split(SEPARATOR)]
    return list(dict.fromkeys(name for name in names if name not in ("", NONE)))


def candidates(row: LabelRow) -> Iterator[tuple[str, bool]]:
    """Yields the names that the video of a row may have on the disk, each with whether that file is cut already.

    They are in the composed form of Unicode. Backslashes separate folders as well, as on Windows.
    """
    pure = PurePosixPath(row.name.replace("\\", "/").removeprefix("./"))
    if row.start is not None and row.end is not None:
        yield cut_name(row.name, row.start, row.end), True
    yield str(pure), False
    if pure.suffix.lower() in VIDEO_SUFFIXES:
        yield str(pure.with_suffix("")), False
        yield pure.stem, False
    yield f"v_{row.name}", False  # ActivityNet's crawler


def segment_name(stem: str, start: float | None, end: float | None) -> str:
    """Returns the name of the folder of a video, or of these seconds of it."""
    return stem if start is None else f"{stem}_{start:.9g}_{end:.9g}"


def _words(line: str) -> list[str]:
    *path, frames, label = ["", "", *line.rsplit(None, 2)][-3:]
    if path[0] and frames.isdigit() and _LABELS.fullmatch(label):
        return [path[0], label]
    return line.rsplit(None, 1)


def _columns(cells: Sequence[str], *, where: str, is_test: bool, multi_label: bool) -> tuple[dict[str, int], bool]:
    """Returns the position of each column, and whether these cells are a header."""
    found, names = find_columns(cells, where=where), [normal_name(cell) for cell in cells]
    if multi_label and "path" not in found and "id" in names:
        found["path"] = names.index("id")
    if "path" in found and ("label" in found or is_test):
        return found, True
    if is_test and len(cells) == 1:
        return {"path": 0}, False
    if len(cells) > 2 and "path" in found:
        raise ListError(
            f"{where}: the header names no label column; found {', '.join(cells)}; call the one with the class `label`"
        )
    if len(cells) != 2:
        raise ListError(f"{where}: {len(cells)} columns and no header; begin the file with a line such as `file,label`")
    return {"path": 0, "label": 1}, False


def _seconds(cells: Sequence[str], columns: dict[str, int], key: str, *, where: str) -> float | None:
    if key not in columns:
        return None
    try:
        return read_seconds(cells[columns[key]])
    except ValueError as error:
        raise ListError(f"{where}: {key} {cells[columns[key]]!r} is not a number of seconds") from error
