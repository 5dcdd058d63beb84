"""Writes lists/train.txt, lists/val.txt and lists/classInd.txt of a dataset of frames.

Who trains and who validates is said by --split (the files of UCF-101 or HMDB-51), by a split column of --csv, by
folders train/ and val/ in frames/, or else by a seeded ratio that takes the same share of each class and keeps groups
(clips cut from one video) together. Exit code 1: written, but videos of the split are not there; 2: wrong input.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

if not __package__:  # started as `python tools/make_lists.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from datasets.class_names import read_class_file
from tools._cli import Parser, positive_int
from tools._found import Found, find_encoded, find_videos, locate
from tools._labels import candidates, labelled_rows, segment_name, split_labels
from tools._splits import SPLITS, group_names, ratio_split, read_split
from utils.errors import ListError, UserError, run_cli
from utils.files import atomic_write
from utils.label_sets import in_text

Splits = dict[str, list[Found]]  # "train", "val" and perhaps "test"


def by_name(videos: Iterable[Found]) -> dict[str, list[Found]]:
    """Videos by every name a split or CSV may call them: folder name, class/name, and the path below the dataset."""
    index: dict[str, list[Found]] = defaultdict(list)
    for video in videos:
        keys = {video.name, video.path, video.path.partition("/")[2]}
        if video.label:
            keys.add(f"{video.label}/{video.name}")
            keys.add(video.name.removeprefix(f"v_{video.label}_"))  # made with --flat
        for key in keys:
            index[key].append(video)
    return index


def from_split_files(videos: Sequence[Found], args: argparse.Namespace) -> tuple[Splits, list[str], list[str]]:
    """Splits, classes in order, and the videos that the split names and nobody has."""
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


def from_csv(
    videos: Sequence[Found], paths: Sequence[Path], *, multi_label: bool
) -> tuple[list[Found], dict[str, str], list[str]]:
    """The videos with the labels of CSV or JSON files, path -> split where they say, and the rows that nobody has.

    multi_label: a row may name several classes, and rows of the same video add up.
    """
    index = by_name(videos)
    labelled: dict[str, Found] = {}
    splits: dict[str, str] = {}
    missing: list[str] = []
    for where, row in labelled_rows(paths, multi_label=multi_label):
        names = [name if is_cut or multi_label else segment_name(name, row) for name, is_cut in candidates(row)]
        names = [f"{row.label}/{PurePosixPath(name).name}" for name in names] + names
        matches = next((index[name] for name in names if name in index), [])
        if not matches:
            missing.append(row.name)
            continue
        video = _only(matches, f"{where}: {row.name}")
        before = labelled.get(video.path)
        if multi_label:
            classes = dict.fromkeys((*(before.classes if before else ()), *split_labels(row.label)))
            labelled[video.path] = replace(video, labels=tuple(classes))
        elif before:
            raise ListError(f"{where}: {row.name} was already given as {before.label!r}")
        else:
            labelled[video.path] = replace(video, label=row.label)
        if row.split:
            if row.split not in SPLITS:
                raise ListError(f"{where}: split {row.split!r} is not one of {', '.join(SPLITS)}")
            splits[video.path] = SPLITS[row.split]
    if splits and len(splits) < len(labelled):
        raise ListError(f"{paths[0]}: {len(labelled) - len(splits)} rows have no split")
    return list(labelled.values()), splits, missing


def from_folders(videos: Sequence[Found]) -> dict[str, str]:
    """path -> split, if every video lies below frames/train, frames/val or the like; otherwise nothing."""
    tops = {video.path: PurePosixPath(video.path).parts[1:-1] for video in videos}
    if all(len(parts) > 1 and parts[0].lower() in SPLITS for parts in tops.values()):
        return {path: SPLITS[parts[0].lower()] for path, parts in tops.items()}
    return {}


def by_ratio(videos: Sequence[Found], args: argparse.Namespace) -> Splits:
    """Splits by --val-ratio, --seed and --group-regex."""
    labels = [video.label for video in videos]
    groups = group_names([video.name for video in videos], labels, regex=args.group_regex)
    sides = ratio_split([video.classes for video in videos], groups, ratio=args.val_ratio, seed=args.seed)
    splits: Splits = {"train": [], "val": []}
    for video, side in zip(videos, sides, strict=True):
        splits[side].append(video)
    return splits


def class_order(labels: Iterable[str]) -> list[str]:
    """Sorted names; by value if all are numbers."""
    names = set(labels)
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names)


def read_classes(path: Path) -> list[str]:
    """Class names in order: a class file, or Something-Something's labels.json (name -> index)."""
    if path.suffix.lower() != ".json":
        return read_class_file(path)
    try:
        index = {str(name): int(number) for name, number in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ListError(f"{path}: is not a mapping of class names to indices ({error})") from error
    if sorted(index.values()) != list(range(len(index))):
        raise ListError(f"{path}: its indices are not 0..{len(index) - 1}")
    return sorted(index, key=index.__getitem__)


def named_classes(videos: Sequence[Found], classes: Sequence[str], path: Path) -> list[Found]:
    """Numbers as labels become the names they stand for, counted from 0, or from 1 if only that fits; which is said."""
    labels = [label for video in videos for label in video.classes]
    if not labels or not all(label.isascii() and label.isdigit() for label in labels) or labels[0] in classes:
        return list(videos)
    numbers = [int(label) for label in labels]
    base = 1 if min(numbers) >= 1 and max(numbers) == len(classes) else 0
    if max(numbers) - base >= len(classes):
        raise UserError(f"{path}: label {max(numbers)} is beyond its {len(classes)} classes")
    print(f"labels are numbers, counted from {base}: {numbers[0]} is {classes[numbers[0] - base]!r}")
    names = {label: classes[number - base] for label, number in zip(labels, numbers, strict=True)}

    def named(video: Found) -> Found:
        sets = video.labels and tuple(names[label] for label in video.labels)
        return replace(video, label=names.get(video.label, video.label), labels=sets)

    return [named(video) for video in videos]


SPACES = str.maketrans("\t\u00a0\u3000", "   ")  # a list can hold them, though Python calls them not printable


def list_lines(videos: Sequence[Found], index: Mapping[str, int]) -> list[str]:
    """The lines of a list, in the order of classes and names."""
    lines: list[str] = []
    numbers = {video.path: sorted(index[label] for label in video.classes) for video in videos}
    for video in sorted(videos, key=lambda video: (numbers[video.path], video.path)):
        path = video.path
        if not path.translate(SPACES).isprintable():
            raise UserError(f"{path!r}: a path in a list cannot hold such characters; rename the folder")
        if path[0] in ' \t",' or path[-1] in ' \t",':
            path = '"' + path.replace('"', '""') + '"'
        count = "" if video.num_frames is None else f" {video.num_frames}"
        lines.append(f"{path}{count} {in_text(numbers[video.path])}\n")
    return lines


def write(path: Path, lines: Sequence[str], what: str) -> None:
    """Writes a list and says so, and whether another one was there."""
    text = "".join(lines)
    before = path.read_text("utf-8") if path.is_file() else None
    if before != text:
        with atomic_write(path, "w") as file:
            file.write(text)
    verb = "wrote" if before is None else "unchanged:" if before == text else "replaced"
    print(f"{verb} {path}: {what}")


def make_splits(videos: Sequence[Found], args: argparse.Namespace) -> tuple[Splits, list[str], list[str], str]:
    """Splits, classes in order, videos that were named but are not there, and how it was decided."""
    if args.split:
        splits, classes, missing = from_split_files(videos, args)
        return splits, classes, missing, f"split {args.split_number} of {args.split}"
    missing, sides = [], from_folders(videos)
    how = "folders"
    if args.csv:
        videos, sides, missing = from_csv(videos, args.csv, multi_label=args.multi_label)
        how = f"split of {args.csv[0]}"
    unlabelled = [video.path for video in videos if video.classes == ("",)]
    if unlabelled:
        raise UserError(
            f"{len(unlabelled)} videos have no class, such as {unlabelled[0]}; give --csv with file,label lines"
        )
    if not videos:
        raise UserError(f"{args.csv[0]}: none of its videos is among the frames, such as {missing[0]!r}")
    classes = class_order(label for video in videos for label in video.classes)
    if args.class_names:
        classes = read_classes(args.class_names)
        videos = named_classes(videos, classes, args.class_names)
    if unknown := sorted({label for video in videos for label in video.classes} - set(classes)):
        raise UserError(f"{args.class_names}: class {unknown[0]!r} is not in it ({len(unknown)} such classes)")
    if not sides:
        return by_ratio(videos, args), classes, missing, f"ratio {args.val_ratio:g}, seed {args.seed}"
    splits = {side: [video for video in videos if sides[video.path] == side] for side in sorted(set(sides.values()))}
    return splits, classes, missing, how


def _only(matches: Sequence[Found], name: str) -> Found:
    if len(matches) > 1:
        raise UserError(f"{name} may be {matches[0].path} or {matches[1].path}")
    return matches[0]


def _ratio(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the lists and says what to do with them; see the module."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="what dump_frames wrote (data/ucf101), or any folder of frames")
    add("--split", type=Path, help="folder of UCF-101's trainlist01.txt ... or of HMDB-51's *_test_split1.txt")
    add("--split-number", type=positive_int, default=1, help="which of the three splits (default 1)")
    add("--csv", type=Path, action="append", help="file,label per line, or JSON; several, such as ...train and ...val")
    add("--class-names", type=Path, help="class file or labels.json that gives the order; by default sorted names")
    add("--val-ratio", type=_ratio, default=0.2, help="share of each class that validates (default 0.2)")
    add("--seed", type=int, default=0, help="of the ratio split (default 0)")
    add("--group-regex", help="what in a video's name says its group; by default UCF-101's _gNN_cNN within a class")
    add("--count", action="store_true", help="count frames on the disk even where the manifest knows them")
    add("--videos", action="store_true", help="DATASET is a folder of encoded videos, read as data.store.type: video")
    add("--lists", type=Path, help="where to write (default DATASET/lists)")
    add("--multi-label", action="store_true", help="videos of --csv show several classes, or none")
    args = parser.parse_args(argv)
    if args.multi_label and not args.csv:
        raise UserError("--multi-label: folders give one class each; say which video shows which classes with --csv")
    if args.split and (args.csv or args.class_names):
        raise UserError("--split brings its own classes; leave out --csv and --class-names")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")

    dataset, frames = locate(args.dataset, args.videos)
    notes: list[str] = []
    if args.videos:
        videos = find_encoded(dataset, frames)
    else:
        videos, notes = find_videos(dataset, frames, count=args.count)
    if not videos and args.videos:
        raise UserError(f"{frames}: no videos in it")
    if not videos:
        raise UserError(
            f"{frames}: no folders of frames in it; dump the videos with tools/dump_frames.py first, or give --videos"
        )
    splits, classes, missing, how = make_splits(videos, args)
    index = {name: number for number, name in enumerate(classes)}
    lines = {name: list_lines(members, index) for name, members in splits.items()}
    if empty := [name for name, members in splits.items() if not members]:
        raise UserError(
            f"no video is left for {' and '.join(empty)} ({how}; {len(missing)} of its videos are not there)"
        )
    folder: Path = args.lists or dataset / "lists"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); give another --lists") from None
    for name, members in splits.items():
        per_class = Counter(label for video in members for label in video.classes)
        few = min((per_class[one] for one in classes), default=0)
        most = max(per_class.values(), default=0)
        write(folder / f"{name}.txt", lines[name], f"{len(members)} videos, {few} to {most} per class ({how})")
    write(folder / "classInd.txt", [f"{number} {name}\n" for name, number in index.items()], f"{len(classes)} classes")
    used = sum(len(members) for members in splits.values())
    if used < len(videos):
        notes.append(f"{len(videos) - used} of {len(videos)} videos are in no list, as nothing names them")
    if missing:
        notes.append(f"{len(missing)} videos are named but not there, such as {missing[0]}")
    for note in notes:
        print(note)
    print(f"in the config: num_class: {len(classes)}" + (", multi_label: True" if args.multi_label else ""))
    for side, name in (("train", "train"), ("val", "val")):
        if name in splits:
            print(f"  {side}_root: {dataset}\n  {side}_source: {folder / name}.txt")
    if args.videos:
        print("  data: {store: {type: video}}")
    print("next: python main.py --config exps/<dataset>/<experiment>/config.yaml --dry-run")
    return 1 if missing else 0


if __name__ == "__main__":
    run_cli(main)
