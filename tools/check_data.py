"""The doctor of data sets: what is wrong with the lists and the frames they name, in plain words.

TARGET is a config.yaml, a folder with train.txt, val.txt, test.txt (or one with lists/ in it), or a single list; of
val.txt and test.txt a label may be -1, for a video whose class is unknown. Every frame is decoded unless --quick.
--fix writes repaired lists in place and keeps the originals as *.orig; frames are never touched. Lists of encoded
videos (train.csv, val.csv, test.csv) have their videos scanned.
Exit code 0: nothing is wrong, or all of it was fixed; 2: something is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # started as `python tools/check_data.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from datasets.frame_names import normalise_template
from datasets.list_parser import parse_text
from tools._cli import Parser, positive_int
from tools._doctor import DataSet, check_classes, check_lists, read, summary
from tools._doctor_disk import check_frames
from tools._doctor_fix import fix
from tools._doctor_videos import check_encoded
from utils.config_file import load_config
from utils.errors import ListError, UserError, run_cli

EXIT_FAULTS = 2
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Target:
    """What to check: lists and roots by split, and what the config or the command line says about them."""

    sources: dict[str, Path]
    roots: dict[str, Path]
    num_class: int | None = None
    classes: Path | None = None
    template: str | None = None
    first: int | None = None


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="check_data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, metavar="TARGET", help="config.yaml, folder of lists, or a list")
    parser.add_argument("--root", type=Path, help="put before every path of the lists; default: found beside them")
    parser.add_argument("--class-names", type=Path, help="class file; default: classInd.txt beside the lists")
    parser.add_argument("--frame-template", help="as data.frame_template; default: what most videos have")
    parser.add_argument("--first-frame", type=int, help="as data.first_frame; default: what most videos have")
    parser.add_argument("--quick", action="store_true", help="names, numbers and sizes only: decode nothing")
    parser.add_argument("--workers", type=positive_int, default=os.cpu_count() or 1, help="processes (default: cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    parser.add_argument("--fix", action="store_true", help="write repaired lists in place")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, and perhaps fixes; returns the exit code."""
    arguments = parse_arguments(argv)
    if encoded := encoded_lists(arguments.target):
        return _main_encoded(encoded, arguments)
    target = find_target(arguments)
    data = examine(target, decode=not arguments.quick, workers=arguments.workers)
    changed: list[Path] = []
    remaining = data
    if arguments.fix and data.faults:
        changed = fix(data)
        remaining = examine(target, decode=False, workers=arguments.workers)
    if arguments.json:
        print(
            json.dumps(
                {
                    "videos": len(data.entries),
                    "faults": [asdict(fault) for fault in data.faults],
                    "changed": [str(file) for file in changed],
                    "remaining": [asdict(fault) for fault in remaining.faults],
                },
                indent=1,
            )
        )
    else:
        _say(data, arguments)
        for file in changed:
            print(f"repaired {file}, the original is {file.name}.orig")
        if changed and remaining.faults:
            print(f"still wrong: {summary(remaining.faults)}")
            for fault in remaining.faults:
                print(f"  {fault.message}")
    return EXIT_FAULTS if remaining.faults else 0


def examine(target: Target, *, decode: bool, workers: int) -> DataSet:
    """All checks, the cheap ones first."""
    data = read(target.sources, target.roots, num_class=target.num_class, classes=target.classes)
    check_lists(data)
    check_frames(data, template=target.template, first=target.first, decode=decode, workers=workers)
    check_classes(data)
    return data


def _say(data: DataSet, arguments: argparse.Namespace) -> None:
    for fault in data.faults:
        way_out = f" [--fix: {fault.fix}]" if fault.fix and not arguments.fix else ""
        print(f"{fault.kind.replace('_', ' ')}: {fault.message}{way_out}")
    depth = "names and sizes looked at" if arguments.quick else "every frame decoded"
    if data.faults:
        print(f"{len(data.faults)} faults in {len(data.entries)} videos: {summary(data.faults)}")
    else:
        print(f"{len(data.entries)} videos, {depth}: nothing is wrong")


def encoded_lists(path: Path) -> dict[str, Path]:
    """The lists of encoded videos that TARGET is, by split; none if it is anything else."""
    if path.is_file():
        return {path.stem if path.stem in SPLITS else "train": path} if path.suffix.lower() == ".csv" else {}
    for place in (path, path / "lists"):
        found = {split: place / f"{split}.csv" for split in SPLITS if (place / f"{split}.csv").is_file()}
        if found:
            return found
    return {}


def _main_encoded(sources: dict[str, Path], arguments: argparse.Namespace) -> int:
    if arguments.fix:
        raise UserError("--fix repairs lists of frames; lists of encoded videos are made anew by tools/make_lists.py")
    count, faults = check_encoded(sources, arguments.root, classes=arguments.class_names)
    if arguments.json:
        print(json.dumps({"videos": count, "faults": [asdict(fault) for fault in faults]}, indent=1))
    else:
        for fault in faults:
            print(f"{fault.kind}: {fault.message}")
        print(f"{count} encoded videos, packets scanned: {summary(faults) or 'nothing is wrong'}")
    return EXIT_FAULTS if faults else 0


def find_target(arguments: argparse.Namespace) -> Target:
    """Lists, roots and what else is known, from the command line."""
    path: Path = arguments.target
    template = normalise_template(arguments.frame_template) if arguments.frame_template else None
    if path.suffix in (".yaml", ".yml"):
        return _from_config(path, arguments, template)
    if not path.exists():
        raise UserError(f"{path}: no such config, folder or list")
    sources = {path.stem if path.stem in SPLITS else "train": path} if path.is_file() else _lists_in(path)
    root = arguments.root or _find_root(next(iter(sources.values())))
    roots = dict.fromkeys(sources, root)
    return Target(sources, roots, None, arguments.class_names, template, arguments.first_frame)


def _from_config(path: Path, arguments: argparse.Namespace, template: str | None) -> Target:
    common = load_config(path).common
    sources, roots = {}, {}
    for split, source, root in (
        ("train", common.train_source, common.train_root),
        ("val", common.val_source, common.val_root),
    ):
        if source is not None:
            sources[split], roots[split] = Path(source), arguments.root or Path(root)
    if not sources:
        raise UserError(f"{path}: neither common.train_source nor common.val_source is set")
    if template is None and common.data.frame_template:
        template = normalise_template(common.data.frame_template)
    classes = arguments.class_names or (Path(common.data.class_names) if common.data.class_names else None)
    first = arguments.first_frame if arguments.first_frame is not None else common.data.first_frame
    return Target(sources, roots, common.model.num_class, classes, template, first)


def _lists_in(folder: Path) -> dict[str, Path]:
    for place in (folder, folder / "lists"):
        found = {split: place / f"{split}.txt" for split in SPLITS if (place / f"{split}.txt").is_file()}
        if found:
            return found
    raise UserError(f"{folder}: none of train.txt, val.txt and test.txt is in it or in its lists/")


def _find_root(source: Path) -> Path:
    """The folder below which most of the list's first videos are: beside the list, above it, its frames/, or /."""
    paths: list[str] = []
    with source.open("rb") as file:
        for line in file:
            try:
                parsed = parse_text(line.removeprefix(b"\xef\xbb\xbf"), 1, source)
            except ListError:
                continue
            paths.append(os.fsdecode(parsed.blob.tobytes()))
            if len(paths) == 50:
                break
    folder = source.resolve().parent
    places = [folder.parent, folder.parent / "frames", folder, folder / "frames", Path("/"), Path.cwd()]
    counts = [sum((place / path).is_dir() for path in paths if path) for place in places]
    if not max(counts):
        raise UserError(f"{source}: none of its videos is below {folder.parent}; say where they are with --root")
    return places[counts.index(max(counts))]


if __name__ == "__main__":
    run_cli(main)
