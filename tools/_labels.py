"""Reads the CSV that says which video is of which class, and finds the class folders of a tree of videos."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import ListError
from utils.video import VIDEO_SUFFIXES

_FILE_NAMES = {"file", "filename", "file_name", "path", "video", "video_name", "video_path", "name", "clip", "video_id"}
_LABEL_NAMES = {"label", "class", "class_name", "classname", "label_name", "category", "action", "target"}
_START_NAMES = {"start", "time_start", "start_time", "t_start"}
_SPLIT_NAMES = {"split", "subset", "set"}
_END_NAMES = {"end", "time_end", "end_time", "t_end"}
_KNOWN = {"file": _FILE_NAMES, "label": _LABEL_NAMES, "start": _START_NAMES, "end": _END_NAMES, "split": _SPLIT_NAMES}


@dataclass(frozen=True)
class LabelRow:
    """One row: the video and its class as written, the seconds it is cut to (None: all of it), its split, the line.

    split is "" where the file has no such column.
    """

    name: str
    label: str
    start: float | None
    end: float | None
    split: str
    line: int


def read_labels(path: Path) -> list[LabelRow]:
    """Reads `file,label` rows, with or without a header line; a header may also name start and end (seconds) and split.

    Commas, semicolons or tabs between the columns; without any of them the last word of a line is the label. Raises
    ListError with file and line for anything else.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in "\t;," if mark in head), "")
    rows = csv.reader(lines, delimiter=delimiter) if delimiter else (line.rsplit(None, 1) for line in lines)
    columns: dict[str, int] | None = None
    result: list[LabelRow] = []
    for number, cells in enumerate(rows, 1):
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if columns is None:
            columns, is_header = _columns(cells, where=f"{path}:{number}")
            if is_header:
                continue
        where = f"{path}:{number}"
        if len(cells) <= max(columns.values()):
            raise ListError(f"{where}: {len(cells)} columns, expected at least {max(columns.values()) + 1} ({cells})")
        name, label = cells[columns["file"]], cells[columns["label"]]
        if not name or not label:
            raise ListError(f"{where}: the {'label' if name else 'file'} is empty")
        start, end = _seconds(cells, columns, "start", where=where), _seconds(cells, columns, "end", where=where)
        if (start is None) != (end is None) or (start is not None and end is not None and not 0 <= start < end):
            raise ListError(f"{where}: start {start} and end {end} are no interval of seconds")
        split = cells[columns["split"]].lower() if "split" in columns else ""
        result.append(LabelRow(name, label, start, end, split, number))
    if not result:
        raise ListError(f"{path}: no rows; expected lines like `some video.mp4,class name`")
    return result


def _columns(cells: Sequence[str], *, where: str) -> tuple[dict[str, int], bool]:
    names = [cell.lower().replace(" ", "_").replace("-", "_") for cell in cells]
    found: dict[str, int] = {}
    for key, known in _KNOWN.items():
        places = [place for place, name in enumerate(names) if name in known]
        if places:
            found[key] = places[0]
    if "file" in found and "label" in found:
        return found, True
    if len(cells) != 2:
        raise ListError(f"{where}: {len(cells)} columns and no header; begin with a line such as `file,label`")
    return {"file": 0, "label": 1}, False


def _seconds(cells: Sequence[str], columns: dict[str, int], key: str, *, where: str) -> float | None:
    if key not in columns or not cells[columns[key]]:
        return None
    try:
        return float(cells[columns[key]])
    except ValueError as error:
        raise ListError(f"{where}: {key} {cells[columns[key]]!r} is not a number of seconds") from error


def walk_videos(root: Path) -> Iterator[Path]:
    """Every video file below `root`, relative to it, in sorted order; links are followed, hidden names left out."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            special = path.exists() and not path.is_file()  # a pipe; a broken link is yielded and fails by its name
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES and not special:
                yield path.relative_to(root)
