"""Says which classes of a network need time: it scores a list as it is, and with clips shuffled, reversed and frozen.

    python -m tools.litmus CKPT LIST --root FOLDER
    python -m tools.litmus kinetics400/tsm_r50_8f_mit data/k400/lists/val.txt --root data/k400 --json litmus.json

Each class needs the order of its frames, needs motion, or needs neither, with 95 % intervals over its videos
(docs/litmus.md). A litmus.json in an experiment's folder becomes a section of its report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/litmus.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import BATCH_SIZE, add_checkpoint_arguments
from utils.cli import Parser, positive_int, run_cli

PER_CLASS = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Scores the list and prints what each class needs."""
    args = parse_arguments(argv)
    from tools.inference.litmus import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="python -m tools.litmus", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_checkpoint_arguments(parser)
    parser.add_argument("list", type=Path, metavar="LIST", help="a list of videos with their labels")
    parser.add_argument("--root", type=Path, help="folder of videos or frames (default: that above LIST's folder)")
    parser.add_argument(
        "--per-class", type=positive_int, default=PER_CLASS, help=f"videos of each class at most (default {PER_CLASS})"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=BATCH_SIZE, help=f"clips at once (default {BATCH_SIZE})"
    )
    parser.add_argument("--workers", type=positive_int, default=0, help="reading processes (default: this one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found into FILE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
