"""Reads labels of when something happens in videos, checks them, converts them, and makes lists of them.

    python -m tools.spans labels.json                                      # what is in it, and what is wrong with it
    python -m tools.spans labels.json --videos videos --to elan corrected  # for another tool
    python -m tools.spans labels.json --videos videos --lists lists --split 0.8

FILE is a file of Label Studio, CVAT, ELAN, FiftyOne, VIA, ActivityNet, THUMOS14 and others, a table or subtitles; its
content says which. docs/segments.md describes them. --lists writes train.csv, val.csv and classInd.txt, which main.py
reads with data.store.type: video; all spans of a video are in the same list.
Exit code 0: nothing is wrong, or all of it was mended; 2: something is wrong, and nothing was written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/spans.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_float, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Shows, mends, converts and lists; returns the exit code."""
    args = parse_arguments(argv)
    from tools.listing.spans import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.spans", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="label files, which are joined")
    add("--from", dest="form", metavar="FORMAT", help="format of the files (default: what their content says)")
    add("--to", nargs=2, metavar=("FORMAT", "OUT"), help="write the spans in this format, as a file or a folder")
    add("--videos", type=Path, metavar="FOLDER", help="the videos: each must be there; gives durations and frame rates")
    add("--classes", type=Path, metavar="FILE", help="class file: no other class may occur, and spellings are adapted")
    add("--fps", type=positive_float, help="frames per second where neither the file nor the video says it")
    add("--fix", action="store_true", help="mend what can be mended, and say each")
    add("--lists", type=Path, metavar="FOLDER", help="write lists for main.py, and a class file, into this folder")
    add("--empty", action="store_true", help="list videos without spans, too: background for type: segment")
    add("--split", type=_share, metavar="SHARE", help="share of the videos that train (default: their subsets decide)")
    add("--seed", type=int, default=0, help="seed of --split (default 0)")
    args = parser.parse_args(argv)
    if args.split is not None and args.lists is None:
        parser.error("--split divides the videos of lists: add --lists FOLDER")
    if args.empty and args.lists is None:
        parser.error("--empty is about lists: add --lists FOLDER")
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: give a number from 0 on")
    return args


def _share(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
