"""Decides which videos of a dataset train and which validate, and writes the lists, for tools/make_lists.py."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from datasets.lists.columns import composed
from datasets.lists.groups import fold_split, group_names
from tools.listing.found import VIDEOS, Found, find_encoded, find_videos, locate, splits_of
from tools.listing.labels import LabelRow, candidates, labelled_rows, segment_name, split_labels
from tools.listing.list_files import (
    class_order,
    csv_lines,
    list_lines,
    named_classes,
    plain_numbers,
    read_class_order,
    write,
)
from tools.listing.splits import SPLITS, ratio_split, read_split
from utils.errors import ListError, UserError

Splits = dict[str, list[Found]]  # "train", "val" and perhaps "test"; with --folds "fold1/train", "fold1/val", ...
MISSING = "missing.txt"
Place = tuple[str, float | None, float | None]  # Found.place


def by_name(videos: Iterable[Found]) -> dict[str, list[Found]]:
    """Indexes videos by every name that a split or a CSV may use: folder, class/name, path below the dataset."""
    index: dict[str, list[Found]] = defaultdict(list)
    for video in videos:
        keys = {video.name, video.path, video.stem, video.stem.partition("/")[2]}
        if video.label:
            keys.add(f"{video.label}/{video.name}")
            keys.add(video.name.removeprefix(f"v_{video.label}_"))  # made with --flat
        for key in {composed(key) for key in keys}:
            index[key].append(video)
    return index


def from_split_files(videos: Sequence[Found], args: argparse.Namespace) -> tuple[Splits, list[str], list[str]]:
    """Returns the splits, the classes in order, and the videos that the split names but that are missing."""
    split = read_split(args.split, number=args.split_number)
    index = by_name(videos)
    splits: Splits = {"train": [], "val": []}
    missing: list[str] = []
    seen: dict[str, str] = {}
    for row in split.rows:
        names = (f"{row.label}/{row.stem}", f"v_{row.label}_{row.stem}", row.stem)
        matches = next((index[name] for name in names if name in index), [])
        if not matches:
            missing.append(f"{row.label}/{row.stem}")
            continue
        video = _only(matches, f"{row.label}/{row.stem}")
        if seen.setdefault(video.path, row.split) != row.split:
            raise ListError(f"{args.split}: {row.label}/{row.stem} is in both sets")
        splits[row.split].append(replace(video, label=row.label))
    return splits, list(split.classes), missing


@dataclass(frozen=True)
class Annotated:
    """The content of annotation files.

    videos: the videos that are there.
    sides: the split of each, by its place.
    files: the files that put videos into each split.
    classes: the classes of all rows.
    missing: the names of the videos that are not there.
    """

    videos: list[Found]
    sides: dict[Place, str]
    files: dict[str, list[str]]
    classes: list[str]
    missing: list[str]


def from_csv(videos: Sequence[Found], args: argparse.Namespace) -> Annotated:
    """Finds the videos that rows of CSV or JSON files name. Raises: ListError for rows that contradict each other.

    With --multi-label a row names a whole video and may name several of its classes, and the rows of a video add up.
    """
    index = by_name(videos)
    labelled: dict[Place, Found] = {}
    said = Annotated([], {}, defaultdict(list), [], [])
    labels: set[str] = set()
    for where, row in labelled_rows(args.csv, unlabelled=args.unlabelled, multi_label=args.multi_label):
        classes = split_labels(row.label) if args.multi_label else [row.label] if row.label else []
        labels.update(classes)
        match = _match(index, row, where, args)
        if match is None:
            said.missing.append(segment_name(row.name, row.start, row.end))
            continue
        before = labelled.setdefault(match.place, match)
        if args.multi_label and row.label:
            labelled[match.place] = replace(before, labels=tuple(dict.fromkeys((*(before.labels or ()), *classes))))
        elif before.label != match.label:
            raise ListError(f"{where}: {row.name} was already given as {before.label!r}")
        if row.split:
            if row.split not in SPLITS:
                raise ListError(f"{where}: split {row.split!r} is not one of {', '.join(SPLITS)}")
            side = said.sides[match.place] = SPLITS[row.split]
            if (file := where.rpartition(":")[0]) not in said.files[side]:
                said.files[side].append(file)
    if said.sides and len(said.sides) < len(labelled):
        raise ListError(f"{args.csv[0]}: {len(labelled) - len(said.sides)} rows have no split")
    return replace(said, videos=list(labelled.values()), classes=sorted(labels))


def _match(index: Mapping[str, list[Found]], row: LabelRow, where: str, args: argparse.Namespace) -> Found | None:
    """Finds the video of a row and gives it the row's label and, if it is encoded and not cut yet, its seconds."""
    for name, is_cut in candidates(row):
        uncut = row.start is not None and not is_cut and not args.multi_label
        stem = segment_name(name, row.start, row.end) if uncut and not args.videos else name
        for key in (f"{row.label}/{PurePosixPath(stem).name}", stem):
            if key in index:
                video = replace(_only(index[key], f"{where}: {row.name}"), label="" if args.multi_label else row.label)
                return replace(video, start=row.start, end=row.end) if uncut and args.videos else video
    return None


def from_folders(videos: Sequence[Found], *, encoded: bool) -> dict[Place, str]:
    """Returns the split of each video if all are below train/, val/ or similar folders; otherwise an empty dict."""
    above = [PurePosixPath(video.path).parts[:-1] for video in videos]
    splits = splits_of([parts[not encoded or parts[:1] == (VIDEOS,) :] for parts in above])
    return {} if splits is None else {video.place: split for video, split in zip(videos, splits, strict=True)}


def by_chance(videos: Sequence[Found], args: argparse.Namespace) -> tuple[Splits, str]:
    """Splits the videos by --val-ratio or --folds, with --seed and --group-regex; also returns what decided."""
    labels = [video.label for video in videos]
    groups = group_names([video.name for video in videos], labels, regex=args.group_regex)
    sets = [video.classes for video in videos]
    if args.folds is None:
        sides = ratio_split(sets, groups, ratio=args.val_ratio, seed=args.seed)
        halves = _grouped(videos, sides)
        return {side: halves.get(side, []) for side in ("train", "val")}, f"ratio {args.val_ratio:g}, seed {args.seed}"
    places = fold_split(sets, groups, folds=args.folds, seed=args.seed)
    splits: Splits = {"all": list(videos)}
    for fold in range(args.folds):
        sides = ["val" if place == fold else "train" for place in places]
        splits |= {f"fold{fold + 1}/{side}": members for side, members in sorted(_grouped(videos, sides).items())}
    return splits, f"{args.folds} folds, seed {args.seed}"


def _grouped(videos: Sequence[Found], sides: Sequence[str]) -> Splits:
    found: Splits = defaultdict(list)
    for video, side in zip(videos, sides, strict=True):
        found[side].append(video)
    return dict(found)


def make_splits(
    videos: Sequence[Found], args: argparse.Namespace
) -> tuple[Splits, list[str], list[str], dict[str, str]]:
    """Returns the splits, the classes in order, the videos that are missing, and what decided about each split."""
    if args.split:
        splits, classes, missing = from_split_files(videos, args)
        return splits, classes, missing, dict.fromkeys(splits, f"split {args.split_number} of {args.split}")
    if args.csv:
        said = from_csv(videos, args)
        videos, sides, classes, missing = said.videos, said.sides, said.classes, said.missing
        how = {side: f"split of {' and '.join(files)}" for side, files in said.files.items()}
        if not videos:
            raise UserError(
                f"{args.csv[0]}: all of its videos are missing, such as {missing[0]!r}{_more_numbers(missing)}"
            )
    else:
        sides, missing = from_folders(videos, encoded=args.videos), []
        how = dict.fromkeys(SPLITS.values(), "folders")
        classes = sorted({video.label for video in videos})
    unlabelled = [video.path for video in videos if video.classes == ("",) and sides.get(video.place) != "test"]
    if unlabelled:
        raise UserError(
            f"{len(unlabelled)} videos have no class, such as {unlabelled[0]}; give --csv with file,label lines"
        )
    if args.class_names:
        named = read_class_order(args.class_names, in_order=not args.sort_classes)
        videos, classes = named_classes(videos, named), named.names
    else:
        videos, classes = plain_numbers(videos), class_order(classes, renumber=args.renumber)
    if unknown := sorted({label for video in videos for label in video.classes} - {*classes, ""}):
        raise UserError(f"{args.class_names}: class {unknown[0]!r} is not in it ({len(unknown)} such classes)")
    if not sides:
        splits, decided = by_chance(videos, args)
        return splits, classes, missing, dict.fromkeys(splits, decided)
    if args.folds is not None:
        raise UserError(f"--folds: these videos have their split ({next(iter(how.values()))}); leave out --folds")
    splits = {side: [video for video in videos if sides[video.place] == side] for side in sorted(set(sides.values()))}
    return splits, classes, missing, how


def _more_numbers(missing: Sequence[str]) -> str:
    """Returns a hint if all names end in a number, as in lists with more than two numbers."""
    if not all(name.rpartition(" ")[2].isdigit() and " " in name for name in missing):
        return ""
    return (
        "; if the number at its end is not part of the name: mmaction2's with_offset and multi_class lists have more "
        "numbers; the first (path offset frames label) train as they are with data.with_offset, the others (path "
        "frames label label) need labels such as 3;7 and multi_label"
    )


def _only(matches: Sequence[Found], name: str) -> Found:
    if len(matches) > 1:
        raise UserError(f"{name} may be {matches[0].path} or {matches[1].path}")
    return matches[0]


def run(args: argparse.Namespace) -> int:
    """Writes the lists and prints what to do with them; returns the exit code."""
    dataset, videos, notes = _videos(args)
    splits, classes, missing, how = make_splits(videos, args)
    index = {name: number for number, name in enumerate(classes)}
    suffix, in_lines = (".csv", csv_lines) if args.videos else (".txt", list_lines)
    lines = {name: in_lines(members, index) for name, members in splits.items()}
    if empty := [name for name, members in splits.items() if not members]:
        raise UserError(
            f"no video is left for {' and '.join(empty)} ({how[empty[0]]}; {len(missing)} of its videos are missing)"
        )
    folder: Path = args.lists or dataset / "lists"
    try:
        for name in splits:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror}); give another --lists") from None
    for name, members in splits.items():
        per_class = Counter(label for video in members for label in video.classes)
        few, most = min((per_class[one] for one in classes), default=0), max(per_class.values(), default=0)
        counts = f"{few}" if few == most else f"{few} to {most}"
        spread = f"{counts} per class" if set(per_class) != {""} else "without labels"
        write(folder / f"{name}{suffix}", lines[name], f"{len(members)} videos, {spread} ({how[name]})")
    for place in sorted({(folder / name).parent for name in splits}):
        write(
            place / "classInd.txt", [f"{number} {name}\n" for name, number in index.items()], f"{len(classes)} classes"
        )
    used = {video.path for members in splits.values() for video in members}
    if len(used) < len(videos):
        notes.append(f"{len(videos) - len(used)} of {len(videos)} videos are in no list, because nothing names them")
    if missing:
        what = f"{len(missing)} videos are named but missing, such as {missing[0]}"
        write(folder / MISSING, [f"{name}\n" for name in missing], what)
    else:
        (folder / MISSING).unlink(missing_ok=True)
    for note in notes:
        print(note)
    print(f"in the config: num_class: {len(classes)}" + ", multi_label: True" * args.multi_label)
    for name in splits:
        side = name.rpartition("/")[2]
        if side in ("train", "val") and name in (side, f"fold1/{side}"):
            print(f"  {side}_root: {dataset}\n  {side}_source: {folder / name}{suffix}")
    if args.videos:
        print("  data: {store: {type: video}}")
    if args.folds:
        print(
            f"train one experiment for each of the {args.folds} folds; python -m anal_tools.folds sums their results up"
        )
    print("next: python main.py --config exps/<dataset>/<experiment>/config.yaml --dry-run")
    return 1 if missing else 0


def _videos(args: argparse.Namespace) -> tuple[Path, list[Found], list[str]]:
    """Returns the folder of the dataset, its videos, and notes for the user."""
    if args.videos:
        if not args.dataset.is_dir():
            raise UserError(f"{args.dataset}: no such folder")
        videos, notes = find_encoded(args.dataset, class_folder=args.class_folder)
        if not videos:
            raise UserError(f"{args.dataset}: no videos in it")
        return args.dataset, videos, [] if args.csv or args.split else notes
    dataset, frames = locate(args.dataset)
    videos, notes = find_videos(dataset, frames, count=args.count, class_folder=args.class_folder)
    if not videos:
        raise UserError(
            f"{frames}: no folders of frames in it; dump the videos with tools/dump_frames.py first, or give --videos"
        )
    return dataset, videos, notes
