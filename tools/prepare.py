"""Turns the official archive of a public data set into a checked dataset: NAME SOURCE [OUT].

    python -m tools.prepare ucf101 downloads/ucf101          # frames, lists, class names in data/ucf101, then a check

SOURCE is the folder that the archive was unpacked into; docs/datasets/ shows each layout. The work is done by
tools/dump_frames.py, tools/make_lists.py and tools/check_data.py, and each command is printed. Running this command
again does what is missing.
Exit code 1: done, but some videos are missing or failed; 2: wrong input, or the check found faults.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

if not __package__:  # started as `python tools/prepare.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools import check_data, dump_frames, make_lists
from tools.listing.archives import ARCHIVES, Archive, Layout, find_layout, mirror_pairs
from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError
from utils.files import atomic_write

DUMP_OPTIONS = ("size", "fps", "every", "quality", "workers")


def main(argv: Sequence[str] | None = None) -> int:
    """Dumps, lists and checks; returns the exit code."""
    args = parse_arguments(argv)
    archive = ARCHIVES[args.name]
    layout = find_layout(archive, args.source, unlabelled=args.unlabelled)
    out: Path = args.out or Path("data", archive.folder)
    annotations = [word for path in layout.annotations for word in ("--csv", str(path))]
    annotations += ["--unlabelled"] * args.unlabelled
    codes = []
    if args.estimate and (archive.has_frames or args.videos):
        print(estimate_here(archive, layout, args.estimate))
        return 0
    if archive.has_frames:
        link_frames(layout.media, out)
    elif not args.videos:
        if args.estimate:
            annotations += ["--estimate", str(args.estimate), "--whole", str(archive.videos)]
        codes.append(_run(dump_frames, [str(layout.media), str(out), *annotations, *dump_options(args)]))
        if args.estimate:
            return 0
    codes.append(_run(make_lists, list_arguments(archive, layout, out, args, annotations)))
    lists = out / "lists"
    if archive.mirrored:
        write_flip_labels(lists)
    where = ["--root", str(layout.media)] if args.videos else []
    quick = ["--quick"] if args.quick or not archive.has_frames else []  # frames that were just written need no check
    quick += ["--workers", args.workers] if args.workers else []
    codes.append(_run(check_data, [str(lists), *where, *quick]))
    return max(codes)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="prepare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("name", metavar="NAME", choices=sorted(ARCHIVES), help=", ".join(sorted(ARCHIVES)))
    add("source", type=Path, metavar="SOURCE", help="folder that the archive was unpacked into")
    add("out", type=Path, metavar="OUT", nargs="?", help="the dataset (default: where the recipes in exps/ expect it)")
    add(
        "--unlabelled",
        action="store_true",
        help="also prepare the test set: frames and lists/test.txt, label -1 if unknown",
    )
    add("--split-number", type=positive_int, default=1, help="split of UCF-101 and HMDB-51, 1 to 3 (default 1)")
    add("--videos", action="store_true", help="dump nothing; list the encoded videos, for data.store.type: video")
    add("--estimate", type=positive_int, metavar="N", help="measure N videos, write nothing, print what all would cost")
    add("--quick", action="store_true", help="do not decode the frames of the archive to check them")
    for option in DUMP_OPTIONS:
        add(f"--{option}", metavar=option.upper(), help=f"--{option} of dump_frames")
    add("--keep-partial", action="store_true", help="--keep-partial of dump_frames")
    return parser.parse_args(argv)


def dump_options(args: argparse.Namespace) -> list[str]:
    """Returns the options for dump_frames as they were given."""
    given = [(f"--{option}", getattr(args, option)) for option in DUMP_OPTIONS]
    return [word for option, value in given if value for word in (option, value)] + [
        "--keep-partial"
    ] * args.keep_partial


def list_arguments(
    archive: Archive, layout: Layout, out: Path, args: argparse.Namespace, annotations: list[str]
) -> list[str]:
    """Returns the command line of make_lists."""
    start = [str(layout.media), "--videos", "--lists", str(out / "lists")] if args.videos else [str(out)]
    if layout.splits is not None:
        return [*start, "--split", str(layout.splits), "--split-number", str(args.split_number)]
    if layout.classes is not None:
        annotations = [*annotations, "--class-names", str(layout.classes), *(["--sort-classes"] * archive.sort_classes)]
    return [*start, *annotations]


def link_frames(media: Path, out: Path) -> None:
    """Links OUT/frames to the frames of the archive, which stay where they are."""
    frames = out / "frames"
    if frames.resolve() == media.resolve():
        return
    if frames.exists() or frames.is_symlink():
        raise UserError(f"{frames} exists and is not {media}; give another OUT, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    try:
        frames.symlink_to(media.resolve(), target_is_directory=True)
    except OSError as error:  # Windows allows it to few users
        raise UserError(f"{frames}: cannot link to {media} ({error.strerror}); move the frames there") from None
    print(f"{frames} -> {media}")


def write_flip_labels(lists: Path) -> None:
    """Writes flip_labels.yaml next to the lists: the classes that are mirror images of each other, for the config."""
    import yaml

    from datasets.lists.class_names import read_class_file

    pairs = mirror_pairs(read_class_file(lists / "classInd.txt"))
    if not pairs:
        return
    file = lists / "flip_labels.yaml"
    with atomic_write(file, "w") as out:
        yaml.safe_dump({"flip_labels": pairs}, out, sort_keys=False, allow_unicode=True, width=1000)
    print(f"wrote {file}: {len(pairs)} classes change into another when a clip is mirrored; copy it to augmentation:")


def estimate_here(archive: Archive, layout: Layout, sample: int) -> str:
    """Returns the cost of the frames that the archive has."""
    if not archive.has_frames:
        raise UserError("--estimate measures frames, but --videos writes no frames")
    folders = sorted(path for path in layout.media.iterdir() if path.is_dir())
    if not folders:
        raise UserError(f"{layout.media}: contains no folders of frames")
    from tools.dumping.estimate import estimate_frames

    return estimate_frames(folders, sample, published=archive.videos)


def _run(tool: ModuleType, arguments: list[str]) -> int:
    print(f"$ python -m {tool.__name__} {shlex.join(arguments)}", flush=True)
    code: int = tool.main(arguments)
    return code


if __name__ == "__main__":
    run_cli(main)
