"""Writes docs/config.md, the reference of every config key, from the schema itself; --check only compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/config_reference.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page, or with --check says whether it is up to date."""
    args = parse_arguments(argv)
    from tools.documenting.config_reference import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="tools.config_reference", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare; a page that is out of date is an error")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
