"""Plans a dump: which videos, their classes, which seconds of them, and the folders they become."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.lists.columns import composed
from datasets.lists.tables import VIDEO_SUFFIXES
from tools.dumping.video import Job, Settings
from tools.listing.found import folder_classes
from tools.listing.labels import candidates, labelled_rows, segment_name
from utils.errors import UserError
from utils.files import find_files


def plan(args: argparse.Namespace) -> list[Job]:
    """Returns a job for every video below VIDEOS. Raises UserError if its class or its folder is not clear."""
    root: Path = args.videos
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder" if not root.exists() else f"{root} is not a folder; give the folder that it is in"
        )
    found = list(find_files(root, VIDEO_SUFFIXES))
    if not found:
        raise UserError(f"{root}: no videos in it")
    entries = list(_from_csv(args, found) if args.csv else _from_folders(root, found, args.class_folder))
    jobs: dict[str, Job] = {}
    for relative, label, start, end in entries:
        job = _job(args, relative, label, start=start, end=end)
        other = jobs.setdefault(job.video, job)
        if other is not job:
            raise UserError(f"{other.source} and {job.source} would both become {job.video}; rename one of them")
    return [jobs[video] for video in sorted(jobs)]


Entry = tuple[Path, str, float | None, float | None]


def _from_folders(root: Path, found: Sequence[Path], class_folder: str) -> Iterator[Entry]:
    loose = [path for path in found if len(path.parts) == 1]
    if loose and len(loose) < len(found):
        raise UserError(
            f"{root} has class folders and loose videos ({loose[0]}); move these into class folders, or give --csv"
        )
    if loose:
        print(f"{root} has no class folders and --csv is not given: the frames get no classes", flush=True)
    classes, notes = folder_classes(found, rule=class_folder)
    for note in notes:
        print(note, flush=True)
    for path, label in zip(found, classes, strict=True):
        yield path, label, None, None


def _from_csv(args: argparse.Namespace, found: Sequence[Path]) -> Iterator[Entry]:
    by_path = {composed(path.as_posix()): path for path in found}
    by_stem: dict[str, list[Path]] = {}
    for path in found:
        for key in {path.name, path.stem, path.with_suffix("").as_posix()}:
            by_stem.setdefault(composed(key), []).append(path)
    used: dict[tuple[Path, float | None, float | None], tuple[str, str]] = {}
    twice = 0
    for where, row in labelled_rows(args.csv, unlabelled=args.unlabelled):
        matches: list[Path] = []
        for name, is_cut in candidates(row):
            with contextlib.suppress(ValueError):
                name = Path(name).relative_to(args.videos).as_posix()
            matches = [by_path[name]] if name in by_path else by_stem.get(name, [])
            if matches:
                row = replace(row, start=None, end=None) if is_cut else row
                break
        if len(matches) > 1:
            raise UserError(
                f"{where}: {row.name} may be {matches[0]} or {matches[1]}; write the path below {args.videos}"
            )
        if "/" in row.label or row.label.startswith("."):
            raise UserError(f"{where}: label {row.label!r} cannot be the name of a folder")
        path = matches[0] if matches else Path(row.name)  # a missing file is reported with the failed videos
        before, label = used.setdefault((path, row.start, row.end), (where, row.label))
        if label != row.label:
            raise UserError(f"{where}: {row.name} is {row.label!r} here and {label!r} in {before}")
        if before != where:
            twice += 1
        else:
            yield path, row.label, row.start, row.end
    if twice:
        print(f"{twice} rows of --csv repeat another row")
    left = set(found) - {path for path, _, _ in used}
    if left:
        print(f"{len(left)} videos below {args.videos} are not named by --csv and are left out, such as {min(left)}")


def _job(args: argparse.Namespace, relative: Path, label: str, *, start: float | None, end: float | None) -> Job:
    stem = segment_name(relative.stem, start, end)
    if args.flat:
        prefix = f"v_{label}_" if label else "v_"
        folder = stem if stem.startswith(prefix) else prefix + stem
    elif args.csv:
        folder = f"{label}/{stem}" if label else stem
    else:
        folder = (relative.parent / stem).as_posix()
    return Job(
        source=args.videos / relative,
        video=f"frames/{folder}",
        label=label,
        start=start,
        end=end,
        settings=Settings(size=args.size, fps=args.fps or 0.0, every=args.every, quality=args.quality),
        out=args.out,
        keep_partial=args.keep_partial,
    )
