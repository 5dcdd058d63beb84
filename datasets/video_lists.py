"""Lists of encoded videos: `path label` lines, a tree of class folders, or a CSV such as the one of Kinetics."""

from __future__ import annotations

import csv
import logging
import os
import re
from pathlib import Path

import numpy as np

from datasets.class_names import find_class_file, read_class_file
from datasets.list_parser import label_columns
from datasets.records import RecordList, read_list
from utils.errors import ListError
from utils.label_sets import NONE, SEPARATOR, LabelSets, label_sets
from utils.video import VIDEO_SUFFIXES

_PATHS = ("path", "video", "filename", "file", "video_path")
_LABELS = ("label", "class", "action", "class_name")
_PATH_LABEL = re.compile(r".*\S[\s,]+\d+")
_log = logging.getLogger(__name__)


def read_videos(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = "/",
    num_class: int | None = None,
    class_names: str | os.PathLike[str] | None = None,
    multi_label: bool = False,
) -> tuple[RecordList, list[str] | None]:
    """The videos of `source` and their class names, if they are known.

    source: a list of `path label` lines, whatever its suffix; a folder with one folder of videos per class, classes in
    alphabetical order; a CSV with a header: label, youtube_id, time_start, time_end (Kinetics; the files are looked for
    below `root`, as crawlers name them), or a path and a label column. Labels in a CSV are names or numbers; names get
    their index from the class file if there is one, else in alphabetical order. multi_label: `path 3;7;12` lines, `-`
    for none; of a CSV `run;jump` cells, and rows of the same path add up.

    Raises ListError.
    """
    source = Path(source)
    if not source.is_dir() and (source.suffix.lower() != ".csv" or _is_plain_list(source)):
        file = Path(class_names) if class_names else find_class_file(source, root)
        columns = label_columns(("label",), multi_label=multi_label)
        records = read_list(source, root=root, num_class=num_class, columns=columns)
        return records, read_class_file(file) if file else None
    if source.is_dir():
        entries = _class_folders(source)
        root = source
    else:
        entries = _csv(source, Path(root))
    if multi_label:
        entries = _joined(entries)
    names = _names(source, root, {name for _, classes, _ in entries for name in classes}, class_names)
    index = {name: label for label, name in enumerate(names)} if names else {}
    labels = []
    for _, classes, line in entries:
        if unknown := [name for name in classes if name not in index and not name.isdigit()]:
            raise ListError(f"{source}:{line}: class {unknown[0]!r} is not in the class file")
        labels.append([index.get(name, int(name) if name.isdigit() else -1) for name in classes])
    highest = max((label for row in labels for label in row), default=-1)
    if num_class is not None and highest >= num_class:
        raise ListError(f"{source}: has {highest + 1} classes, but model.num_class is {num_class}")
    sets = label_sets(labels, num_class or highest + 1)
    paths, lines = [path for path, *_ in entries], [line for *_, line in entries]
    return _records(source, root, paths, sets if multi_label else sets.flat, lines), names


def _is_plain_list(source: Path) -> bool:
    """Whether a .csv has no header but begins with `path label`, as PyTorchVideo's and PySlowFast's lists do."""
    try:
        with source.open(encoding="utf-8-sig", errors="replace") as file:
            return _PATH_LABEL.fullmatch(file.readline().strip()) is not None
    except OSError:
        return False  # reading it says why


Entry = tuple[str, list[str], int]  # path below the root, classes, line


def _joined(entries: list[Entry]) -> list[Entry]:
    """One entry per path, with the classes of all its rows, each once; cells are cut at `;`, and `-` is no class."""
    found: dict[str, Entry] = {}
    for path, cells, line in entries:
        _, classes, _ = found.setdefault(path, (path, [], line))
        for cell in cells:
            names = [] if cell == NONE else [name.strip() for name in cell.split(SEPARATOR)]
            classes += [name for name in names if name and name not in classes]
    return list(found.values())


def _class_folders(folder: Path) -> list[Entry]:
    entries = []
    for name in sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
        for file in sorted((folder / name).rglob("*")):
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
                entries.append((str(file.relative_to(folder)), [name], 0))
    if not entries:
        raise ListError(f"{folder}: no videos in class folders here; expected {folder.name}/<class>/<video>")
    return entries


def _csv(source: Path, root: Path) -> list[Entry]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}; check train_source / val_source") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListError(f"{source}: is not a CSV file: {error}") from None
    columns = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    label = next((columns[name] for name in _LABELS if name in columns), None)
    path = next((columns[name] for name in _PATHS if name in columns), None)
    if label is None or (path is None and "youtube_id" not in columns):
        raise ListError(
            f"{source}:1: the header must have a label column and path, or youtube_id, time_start and time_end as "
            f"Kinetics has; found {', '.join(columns) or 'nothing'}"
        )
    if path is not None:
        return [(row[path] or "", [(row[label] or "").strip()], line) for line, row in enumerate(rows, 2)]
    return _kinetics(source, root, rows, columns, label)


def _kinetics(source: Path, root: Path, rows: list[dict[str, str]], columns: dict[str, str], label: str) -> list[Entry]:
    """Rows whose file is there; the others (videos vanish from YouTube) are counted in one warning."""
    if not root.is_dir():
        raise ListError(f"{root}: folder not found; check train_root / val_root")
    there = {
        file.stem: str(file.relative_to(root)) for file in root.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES
    }
    entries, missing = [], 0
    for line, row in enumerate(rows, 2):
        video = row[columns["youtube_id"]]
        try:
            start, end = (int(float(row[columns[name]])) for name in ("time_start", "time_end"))
        except (KeyError, ValueError, TypeError):
            raise ListError(f"{source}:{line}: time_start and time_end must be seconds") from None
        path = there.get(f"{video}_{start:06d}_{end:06d}") or there.get(video)
        if path is None:
            missing += 1
        else:
            entries.append((path, [row[label].strip()], line))
    if not entries:
        raise ListError(f"{source}: none of its {len(rows)} videos is below {root}; check train_root / val_root")
    if missing:
        _log.warning("%s: %d of %d videos are not below %s and are left out", source, missing, len(rows), root)
    return entries


def _names(
    source: Path, root: str | os.PathLike[str], found: set[str], class_names: str | os.PathLike[str] | None
) -> list[str] | None:
    file = Path(class_names) if class_names else find_class_file(source, root)
    if file is not None:
        return read_class_file(file)
    return None if all(name.isdigit() for name in found) else sorted(found)


def _records(
    source: Path, root: str | os.PathLike[str], paths: list[str], labels: np.ndarray | LabelSets, lines: list[int]
) -> RecordList:
    encoded = [os.fsencode(path) for path in paths]
    return RecordList(
        source,
        root,
        blob=np.frombuffer(b"".join(encoded), np.uint8),
        offsets=np.concatenate([[0], np.cumsum([len(path) for path in encoded])]).astype(np.int64),
        num_frames=np.zeros(len(paths), np.int32),
        labels=labels,
        lines=np.array(lines, np.int32),
    )
