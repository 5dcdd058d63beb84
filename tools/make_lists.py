"""Writes lists/train.txt, lists/val.txt and lists/classInd.txt of a dataset of frames or encoded videos.

Which videos train and which validate is decided by --split (the files of UCF-101 or HMDB-51), by a split column of
--csv, by folders train/ and val/ in frames/, or else by a seeded ratio. The ratio takes the same share of each class
and keeps groups (clips cut from one video) together. --folds K does so K times, for data sets with few videos: each
video is in lists/foldN/val.txt of one fold N and in lists/foldN/train.txt of the others.
Exit code 1: written, but videos of the split are missing (lists/missing.txt); 2: wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/make_lists.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the lists and says what to do with them."""
    args = parse_arguments(argv)
    from tools.listing.make_lists import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="what dump_frames wrote (data/ucf101), or any folder of frames")
    add("--split", type=Path, help="folder of UCF-101's trainlist01.txt ... or of HMDB-51's *_test_split1.txt")
    add("--split-number", type=positive_int, default=1, help="which of the three splits (default 1)")
    add("--csv", type=Path, action="append", help="file,label per line, or JSON; may be repeated: ...train and ...val")
    add("--unlabelled", action="store_true", help="also list videos without a label in --csv: lists/test.txt, label -1")
    add("--class-names", type=Path, help="class file or labels.json that gives the order (default: sorted names)")
    add("--class-folder", choices=("first", "last"), default="first", help="where folders are nested (default: first)")
    add("--renumber", action="store_true", help="count labels that are numbers from 0, without gaps (default: kept)")
    add("--sort-classes", action="store_true", help="sort the names of --class-names")
    add(
        "--videos", action="store_true", help="DATASET holds encoded videos: lists/train.csv for data.store.type: video"
    )
    add("--val-ratio", type=_ratio, default=0.2, help="share of each class that validates (default 0.2)")
    add("--folds", type=positive_int, metavar="K", help="write K pairs of lists instead, for cross-validation")
    add("--seed", type=int, default=0, help="seed of the ratio split and of the folds (default 0)")
    add("--group-regex", help="finds the group in a video's name (default: UCF-101's _gNN_cNN, within a class)")
    add("--count", action="store_true", help="count frames on the disk even where the manifest has their number")
    add("--lists", type=Path, help="where to write (default DATASET/lists)")
    add("--multi-label", action="store_true", help="videos of --csv may show several classes, or no class")
    args = parser.parse_args(argv)
    if args.multi_label and not args.csv:
        raise UserError("--multi-label: folders give one class each; say which video shows which classes with --csv")
    if args.split and (args.csv or args.class_names):
        raise UserError("--split brings its own classes; leave out --csv and --class-names")
    if args.renumber and (args.split or args.class_names):
        raise UserError("--renumber makes up its own classes; leave out --split and --class-names")
    if args.folds is not None and (args.split or args.folds == 1):
        raise UserError("--folds divides the videos itself, into at least 2 parts; leave out --split")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")
    return args


def _ratio(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
