"""Says where a model is right and wrong, from the results of one experiment:

    python anal_tools/analyze.py -e exps/<dataset>/<experiment> [--forgive pairs.txt]

Writes EXP/analysis/: confusion.png, confusion.csv, per_class.csv and top100_errors.txt, and prints the accuracies. For
a multi_label experiment it writes per_class.png, per_class.csv and top100_errors.txt, and prints the mean average
precision.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python anal_tools/analyze.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Analyses the experiment that the arguments name."""
    args = parse_arguments(argv)
    from anal_tools.analysis import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="analyze.py", description="Confusion matrix, per-class accuracy and top errors.")
    parser.add_argument("-e", "--experiment", required=True, metavar="EXP", help="experiment folder with results")
    parser.add_argument(
        "--forgive",
        metavar="FILE",
        help="file of `child<tab>parent` lines, by name or index: a second accuracy accepts the parent for the child",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
