"""Proves what every temporal module does in every image network, cell by cell, and writes docs/matrix.md.

    python -m tools.matrix tam resnet18
    python -m tools.matrix --write
    python -m tools.matrix --check tsm mobilenetv2
    python -m tools.matrix --train data/motion8/lists/train.txt resnet18 --write

Names choose rows and columns; without any, all cells are proved. Each cell is kept as soon as it is done, so a command
that was interrupted goes on. A cell is proved again when code that it uses changes. --write writes the page, --check
exits with 1 if the page says something else. --train trains every cell on a list, and --write then adds the accuracies.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/matrix.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.proving import KEPT, LIKE, RUNS
from utils.cli import Parser, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints, writes or checks the matrix; returns 1 when a proof or a training fails, or the page differs."""
    args = parse_arguments(argv)
    from tools.proving.matrix import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="modules and image networks, such as `tam resnet18`")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write docs/matrix.md with all cells that are kept")
    action.add_argument("--check", action="store_true", help="exit with 1 if docs/matrix.md says something else")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FILE", help=f"cells so far (default {KEPT})")
    training = parser.add_argument_group("training")
    training.add_argument("--train", type=Path, metavar="LIST", help="list to train on; val.txt lies beside it")
    training.add_argument("--like", type=Path, default=LIKE, metavar="CONFIG", help=f"schedule (default {LIKE})")
    training.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help=f"experiments (default {RUNS})")
    training.add_argument("--partition", default="local", help="Slurm partition: each cell is a job (default local)")
    training.add_argument(
        "--gpus", type=positive_int, metavar="N", help="GPUs of each training (default: none, the CPU)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
