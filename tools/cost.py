"""Counts what every model costs: parameters and multiply-adds, on the meta device, without weights or data.

Prints the table. --write puts it into docs/models.md. --check fails when a count differs from its published figure, or
docs/models.md from the counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/cost.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints, writes or checks the table of costs."""
    args = parse_arguments(argv)
    from tools.exporting.cost import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="python -m tools.cost", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="*", help="only rows whose model contains one of these, such as `slowfast`")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write docs/models.md")
    action.add_argument("--check", action="store_true", help="exit with 1 if a figure or docs/models.md differs")
    args = parser.parse_args(argv)
    if args.model and (args.write or args.check):
        parser.error("--write and --check take all models")
    return args


if __name__ == "__main__":
    run_cli(main)
