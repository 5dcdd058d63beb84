"""Finds the lists that tools/check_data.py is asked about, runs all checks on them and prints the faults."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets.lists.columns import find_columns
from datasets.lists.parser import COLUMNS, OFFSET_COLUMNS, label_columns, parse_text
from datasets.lists.shards import is_shards
from datasets.lists.tables import TABLES, VIDEO_SUFFIXES, first_suffix, is_table, read_table
from datasets.memcached_dataset import image_list_columns
from datasets.open import has_videos
from datasets.places.place import is_address
from datasets.stores.frame_names import IMAGE_SUFFIXES, normalise_template
from tools.checking.classes import check_classes
from tools.checking.disk import check_frames, check_images
from tools.checking.fix import fix
from tools.checking.flow import check_flow
from tools.checking.lists import DataSet, Fault, check_lists, read_classes, read_list, summary
from tools.checking.spans import check_spans
from tools.checking.videos import check_videos, leave_out_tars, take_table
from tools.listing.found import VIDEOS
from utils.config.file import load_config
from utils.config.schema import SEGMENT
from utils.errors import ListError, UserError
from utils.transforms.image import MAX_PIXELS

EXIT_FAULTS = 2
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Target:
    """The lists to check, and what the config or the command line says about them.

    sources: the list of each split.
    roots: the folder that paths in it start from.
    num_class: the number of classes, None where it is unknown.
    classes: the class file, None where it has to be found.
    template: the name template of frames, None where it has to be detected.
    first: the number of the first frame, None where it has to be detected.
    multi_label: True where a video may show several classes.
    flow: True to check optical flow instead of frames.
    encoded: True for videos instead of folders of frames.
    with_offset: True where lines of lists are `path offset num_frames label`.
    fps: frames per second of folders that are in no manifest.
    background: name of the class that data.background draws.
    images: True for single pictures instead of folders of frames.
    max_pixels: height x width that a frame may have.
    cache: folder of the index of videos; None for the user's cache folder.
    segments: True for a method that finds spans in whole videos; None where the method is unknown.
    """

    sources: dict[str, Path]
    roots: dict[str, Path]
    num_class: int | None = None
    classes: Path | None = None
    template: str | None = None
    first: int | None = None
    multi_label: bool = False
    flow: bool = False
    encoded: bool = False
    with_offset: bool = False
    fps: float | None = None
    background: str | None = None
    images: bool = False
    max_pixels: int = MAX_PIXELS
    cache: str | None = None
    segments: bool | None = None


def run(args: argparse.Namespace) -> int:
    """Checks, and with --fix repairs; returns the exit code."""
    target = find_target(args)
    data = examine(target, decode=not args.quick, workers=args.workers, record=args.record_checksums)
    changed: list[Path] = []
    remaining = data
    if args.fix and data.faults:
        changed = fix(data)
        remaining = examine(target, decode=False, workers=args.workers)
    if args.json:
        print(
            json.dumps(
                {
                    "videos": len(data.entries),
                    "faults": [asdict(fault) for fault in data.faults],
                    "notes": data.notes,
                    "changed": [str(file) for file in changed],
                    "remaining": [asdict(fault) for fault in remaining.faults],
                },
                indent=1,
            )
        )
    else:
        _say(data, target, args)
        for file in changed:
            print(f"repaired {file}, the original is {file.name}.orig")
        if changed and remaining.faults:
            print(f"still wrong: {summary(remaining.faults)}")
            for fault in remaining.faults:
                print(f"  {fault.message}")
    return EXIT_FAULTS if remaining.faults else 0


def examine(target: Target, *, decode: bool, workers: int, record: bool = False) -> DataSet:
    """Runs all checks, the cheap ones first."""
    if record and (target.encoded or target.images):
        raise UserError("--record-checksums is for folders of frames; these lists name single files")
    sources = _different(target.sources)
    data = DataSet(
        sources,
        dict(target.roots),
        target.num_class,
        columns=_columns(target),
        max_pixels=target.max_pixels,
        fps=target.fps,
        background=target.background,
        empty=target.segments,
        record=record,
    )
    if len(sources) < len(target.sources):
        both = f"{next(iter(sources.values()))}: is the list of {' and '.join(target.sources)}"
        data.faults.append(Fault("same_list", f"{both}, so the accuracy is that of videos that were trained on"))
    for split in [split for split, source in sources.items() if is_shards(source)]:
        leave_out_tars(data, split)
    tables = {split for split, source in sources.items() if _is_table(source, target)}
    read_classes(data, target.classes, encoded=target.encoded or bool(tables))
    for split in sources:
        if split in tables:
            take_table(data, split, encoded=target.encoded)
        else:
            read_list(data, split)
    check_lists(data)
    if target.encoded:
        check_videos(data, decode=decode, workers=workers, cache=target.cache)
    elif target.images:
        check_images(data, decode=decode, workers=workers)
    else:
        check = check_flow if target.flow else check_frames
        check(data, template=target.template, first=target.first, decode=decode, workers=workers)
    check_spans(data)
    check_classes(data)
    return data


def _is_table(source: Path, target: Target) -> bool:
    return is_shards(source) or is_table(source) or (target.encoded and source.is_dir())


def _columns(target: Target) -> tuple[str, ...]:
    files = ("label",) if target.encoded or target.images else COLUMNS
    return label_columns(OFFSET_COLUMNS if target.with_offset else files, multi_label=target.multi_label)


def _different(sources: dict[str, Path]) -> dict[str, Path]:
    """Returns the lists without those that are the same file or folder as one before."""
    first: dict[Path, str] = {}
    return {split: source for split, source in sources.items() if first.setdefault(source.resolve(), split) == split}


def _say(data: DataSet, target: Target, args: argparse.Namespace) -> None:
    for fault in data.faults:
        way_out = f" [--fix: {fault.fix}]" if fault.fix and not args.fix else ""
        print(f"{fault.kind.replace('_', ' ')}: {fault.message}{way_out}")
    for note in data.notes:
        print(f"note: {note}")
    looked = "packets scanned" if target.encoded else "names and sizes looked at"
    depth = looked if args.quick else "every frame decoded"
    videos = _counted(len(data.entries), "video")
    if data.faults:
        print(f"{_counted(len(data.faults), 'fault')} in {videos}: {summary(data.faults)}")
    else:
        print(f"{videos}, {depth}: nothing is wrong")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def find_target(args: argparse.Namespace) -> Target:
    """Finds the lists, their roots and everything else that the command line says or implies."""
    path: Path = args.target
    template = normalise_template(args.frame_template) if args.frame_template else None
    if path.suffix in (".yaml", ".yml"):
        return _from_config(path, args, template)
    if not path.exists():
        raise UserError(f"{path}: no such config, folder or list")
    sources = {path.stem if path.stem in SPLITS else "train": path} if path.is_file() else _lists_in(path)
    first = next(iter(sources.values()))
    table, suffix = first.suffix.lower() in TABLES, first_suffix(first)
    encoded, images = table or suffix in VIDEO_SUFFIXES, suffix in IMAGE_SUFFIXES and not table
    root = args.root or (first.resolve().parent.parent if table else None)
    if table and root and _names_folders(first, root):
        encoded = False
    known = (None, args.class_names, template, args.first_frame, args.multi_label, args.flow)
    target = Target(sources, {}, *known, encoded=encoded, with_offset=args.with_offset, fps=args.fps, images=images)
    return replace(target, roots=dict.fromkeys(sources, root or _find_root(first, target)))


def _names_folders(table: Path, root: Path) -> bool:
    """Returns whether the first path of a CSV is a folder, of frames."""
    header, rows = read_table(table) or ([], [])
    column = find_columns(header, where=f"{table}:1").get("path")
    cells = next((row for row in rows if any(row)), [])
    return column is not None and len(cells) > column and (root / cells[column]).is_dir()


def _from_config(path: Path, args: argparse.Namespace, template: str | None) -> Target:
    common = load_config(path).common
    sources, roots = {}, {}
    for split, source, root in (
        ("train", common.train_source, common.train_root),
        ("val", common.val_source, common.val_root),
    ):
        for name in (source, root) if source is not None else ():
            if is_address(name):
                raise UserError(
                    f"{name}: is an address, and only what lies on a disk is checked here; the training looks at its "
                    "files before it begins, and names those that it cannot read"
                )
        if source is not None:
            sources[split], roots[split] = Path(source), args.root or Path(root)
    if not sources:
        raise UserError(f"{path}: neither common.train_source nor common.val_source is set")
    if template is None and common.data.frame_template:
        template = normalise_template(common.data.frame_template)
    classes = args.class_names or (Path(common.data.class_names) if common.data.class_names else None)
    first = args.first_frame if args.first_frame is not None else common.data.first_frame
    several, flow = common.multi_label or args.multi_label, args.flow or common.model.modality == "flow"
    known = (common.model.num_class, classes, template, first, several, flow)
    images = common.model.type == "img" and image_list_columns(next(iter(sources.values()))) == ("label",)
    encoded = has_videos(common)
    target = Target(sources, roots, *known, encoded=encoded, images=images, max_pixels=common.data.max_pixels)
    with_offset, fps = common.data.with_offset or args.with_offset, common.data.fps or args.fps
    cache = common.data.store.get("cache")
    rest: dict[str, Any] = {"background": common.data.background.label, "segments": common.model.type == SEGMENT}
    return replace(target, with_offset=with_offset, fps=fps, cache=cache, **rest)


def _lists_in(folder: Path) -> dict[str, Path]:
    # lists/ first: next to it may be the annotations that the lists were made from, such as train.csv
    for place in (folder / "lists", folder):
        for suffix in (".txt", ".csv"):
            lists = {split: place / f"{split}{suffix}" for split in SPLITS}
            if found := {split: source for split, source in lists.items() if source.is_file()}:
                return found
    raise UserError(f"{folder}: contains no train.txt, val.txt, test.txt or .csv, and neither does its lists/")


def _find_root(source: Path, target: Target) -> Path:
    """Finds the folder that contains most of the first 50 videos: next to the list, above it, its frames/, or /."""
    paths: list[str] = []
    files, columns = target.encoded or target.images, _columns(target)
    with source.open("rb") as file:
        for line in file:
            try:
                parsed = parse_text(line.removeprefix(b"\xef\xbb\xbf"), 1, source, columns)
            except ListError:
                continue
            paths.append(os.fsdecode(parsed.blob.tobytes()))
            if len(paths) == 50:
                break
    folder = source.resolve().parent
    name = VIDEOS if files else "frames"
    places = [folder.parent, folder.parent / name, folder, folder / name, Path("/"), Path.cwd()]
    counts = [sum((place / path).is_dir() != files and (place / path).exists() for path in paths) for place in places]
    if not max(counts):
        raise UserError(f"{source}: its videos are not below {folder.parent}; say where they are with --root")
    return places[counts.index(max(counts))]
