"""Averages the scores of several evaluations of the same videos: two streams, several networks, several seeds.

    python -m tools.fuse exps/ucf101/rgb exps/ucf101/flow --weights 1 1.5
    python -m tools.fuse TEST_RGB TEST_FLOW --search-on VAL_RGB VAL_FLOW --out exps/ucf101/two_stream

Each folder holds the reference_result.* and reference_scores.npz of one evaluation. Prints the numbers of each and of
all together. --out writes the same files for the fused scores, so that every tool for results can read them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/fuse.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli, usable_weights


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, and writes the fused results if asked to."""
    args = parse_arguments(argv)
    from tools.inference.fuse import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.fuse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+", help="experiment folders with results of the same videos")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--weights", type=float, nargs="+", help="one per folder; only their ratio counts (default 1)")
    choice.add_argument(
        "--search", action="store_true", help="find the weights with the best top-1, or mAP, on these same videos"
    )
    choice.add_argument("--search-on", type=Path, nargs="+", metavar="FOLDER", help="find them on other results")
    parser.add_argument("--geometric", action="store_true", help="average logits instead of scores")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the fused results there")
    args = parser.parse_args(argv)
    if len(args.folder) < 2:
        parser.error("name at least two folders to fuse")
    if args.weights and not usable_weights(args.weights, len(args.folder)):
        parser.error(f"--weights: give {len(args.folder)} numbers, none below 0 and one above, not {args.weights}")
    if args.out and args.out.resolve() in {folder.resolve() for folder in args.folder}:
        parser.error(f"--out: {args.out} is one of the folders to fuse")
    return args


if __name__ == "__main__":
    run_cli(main)
