"""Sums up cross-validation: the results of K folds, in which each video was scored by a network that had not seen it:

    python -m anal_tools.folds -e EXP1 EXP2 ... [-o EXP]

The lists of the folds are those of `python -m tools.make_lists DATASET --folds K`. Prints the accuracy of each fold,
their mean and spread, and the accuracy over all videos with its 95 % interval. -o writes the results of all videos
together into a folder, so that anal_tools.report and the others show them as those of one experiment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python anal_tools/folds.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the sums, and writes the results of all folds if -o names a folder."""
    args = parse_arguments(argv)
    from anal_tools.fold_results import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="folds.py", description="The results of the K folds of a cross-validation, summed up.")
    parser.add_argument(
        "-e", "--experiment", required=True, nargs="+", metavar="EXP", help="evaluated experiments, one for each fold"
    )
    parser.add_argument("-o", "--output", metavar="EXP", help="folder that gets the results of all videos together")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
