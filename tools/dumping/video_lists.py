"""Reads lists of encoded videos, and writes them again with the paths that the videos have in tars.

Everything else of a list stays as it is written: order, labels, seconds, and columns that nobody knows.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.lists.class_names import find_class_file
from datasets.lists.columns import FRAMES, IDS, composed, delimiter_of, find_columns, normal_name
from datasets.lists.parser import OFFSET_COLUMNS, label_columns
from datasets.lists.records import RecordList
from datasets.lists.shards import is_shards, read_shards
from datasets.lists.spelling import as_on_disk
from datasets.lists.tables import VIDEO_SUFFIXES, is_table, read_table, read_videos
from datasets.places.place import is_address, join
from tools.dumping.transcode import SUFFIX
from utils.errors import UserError

_SEPARATORS = re.compile(r"[ \t\r,]+")
Members = Mapping[str, str]  # where each video is now, by its full path


@dataclass(frozen=True)
class VideoList:
    """Holds one list of videos.

    name: of the file that is written for it.
    videos: name and full path of the video of each record. The name does not depend on where the root lies.
    in_frames: whether some of its records are spans that are given in frames.
    text: makes the new list of the paths that the videos have now; records without one are left out.
    classes: the class file of the list; None without one.
    """

    name: str
    videos: list[tuple[str, str]]
    in_frames: bool
    text: Callable[[Members], str]
    classes: Path | None = None


def read_source(source: str, root: str | None, *, multi_label: bool = False, with_offset: bool = False) -> VideoList:
    """Reads a list, as train_source in a config with `store: {type: video}`.

    root: as train_root. multi_label, with_offset: as in the config, for lists of lines.
    Raises: ListError; UserError if the root is missing.
    """
    if is_shards(source):
        return _from_shards(source, root)
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, root)
    if is_address(source):
        raise UserError(f"{source}: copy the list to this machine; its videos and --root may stay where they are")
    if root is None:
        raise UserError(f"{source}: its paths need a folder to start from; give --root, as train_root in a config")
    classes = find_class_file(source, root)
    if is_table(path):
        return _from_table(path, root, classes)
    return _from_lines(path, root, classes, multi_label=multi_label, with_offset=with_offset)


def _from_shards(source: str, root: str | None) -> VideoList:
    folder, samples = read_shards(source, VIDEO_SUFFIXES)
    videos = [(sample.path.replace(".tar/", "/", 1), join(folder, sample.path)) for sample in samples]
    name = re.sub(r"[-_.]*[{*].*[}*]", "", os.path.basename(source).removesuffix(".tar")) or "videos"  # noqa: PTH119
    rows = [[path, sample.label] for (_, path), sample in zip(videos, samples, strict=True)]
    text = _csv_text(["path", "label"], rows, [path for _, path in videos])
    return VideoList(f"{name}.csv", videos, False, text, find_class_file(source, root or folder))


def _from_folder(folder: Path, root: str | None) -> VideoList:
    records = read_videos(folder)[0]
    paths = [records.path(index) for index in range(len(records))]
    videos = [(f"{folder.resolve().name}/{path}", records.full_path(index)) for index, path in enumerate(paths)]
    rows = [[path, composed(PurePosixPath(path).parts[0])] for path in paths]
    text = _csv_text(["path", "label"], rows, [path for _, path in videos])
    return VideoList(f"{folder.resolve().name}.csv", videos, False, text, find_class_file(folder, root or folder))


def _from_table(source: Path, root: str, classes: Path | None) -> VideoList:
    table = read_table(source)
    assert table is not None  # is_table
    header, rows = table
    columns = find_columns(header, where=f"{source}:1")
    blind = [_without(cells, columns.get("label")) for cells in rows]  # labels stay as they are, and cannot be wrong
    records = as_on_disk(read_videos(source, root=root, unlabelled=True, table=(header, blind))[0])
    kept: list[list[str]] = []
    for index in range(len(records)):
        row = list(rows[records.line(index) - 2])
        if records.span(index) is None:  # a file that a crawler has cut, with the seconds in its name
            for key in ("start", "end", *FRAMES):
                row = _without(row, columns.get(key))
        kept.append(row)
    if normal_name(header[columns["path"]]) in IDS:
        header = [*header[: columns["path"]], "path", *header[columns["path"] + 1 :]]
    videos = _named(records, root)
    with source.open(encoding="utf-8-sig", newline="") as file:
        mark = delimiter_of(file.readline())
    text = _csv_text(header, kept, [path for _, path in videos], column=columns["path"], mark=mark)
    return VideoList(source.name, videos, records.in_frames, text, classes)


def _without(cells: list[str], column: int | None) -> list[str]:
    return cells if column is None or column >= len(cells) else [*cells[:column], "", *cells[column + 1 :]]


def _csv_text(
    header: list[str], rows: Sequence[list[str]], paths: Sequence[str], *, column: int = 0, mark: str = ","
) -> Callable[[Members], str]:
    def text(members: Members) -> str:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=mark, lineterminator="\n")
        writer.writerow(header)
        for row, path in zip(rows, paths, strict=True):
            if path in members:
                writer.writerow([*row[:column], members[path], *row[column + 1 :]])
        return out.getvalue()

    return text


def _from_lines(source: Path, root: str, classes: Path | None, *, multi_label: bool, with_offset: bool) -> VideoList:
    columns = OFFSET_COLUMNS if with_offset else ("label",)
    given = {"root": root, "unlabelled": True, "multi_label": multi_label}
    records = as_on_disk(read_videos(source, **given, columns=columns)[0])  # type: ignore[arg-type]
    videos, count = _named(records, root), len(label_columns(columns, multi_label=multi_label))
    lines = source.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    numbers = [
        " ".join(_SEPARATORS.split(lines[records.line(index) - 1].strip())[-count:]) for index in range(len(records))
    ]

    def text(members: Members) -> str:
        pairs = zip(videos, numbers, strict=True)
        return "".join(f"{members[path]} {rest}\n" for (_, path), rest in pairs if path in members)

    return VideoList(source.name, videos, with_offset, text, classes)


def _named(records: RecordList, root: str) -> list[tuple[str, str]]:
    """Returns name and full path of the video of each record."""
    found = []
    for index in range(len(records)):
        path = records.path(index)
        name = path.removeprefix(os.fspath(root).rstrip("/") + "/")
        name = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]+://", "", name).replace(".tar/", "/")
        name = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
        found.append((name, records.full_path(index)))
    return found


def member_names(videos: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Returns what each video is called in its tar: its name with another ending, or with two where that is taken.

    known: of videos that have been packed before.
    """
    found = {video: known[video] for video in videos if video in known}
    taken = set(known.values())
    for video in sorted(videos, key=lambda video: not video.endswith(SUFFIX)):  # first those that keep their names
        if video not in found:
            member = PurePosixPath(video).with_suffix(SUFFIX).as_posix()
            found[video] = member if member not in taken else f"{video}{SUFFIX}"
            taken.add(found[video])
    return found
