"""Exports every registered model in both formats, compares it with PyTorch, and writes docs/export_models.md.

    python -m tools.export_table                # prints the table
    python -m tools.export_table slowfast r3d   # only models whose name contains one of these
    python -m tools.export_table --write        # every model, an hour; writes the page (with names: only their rows)

Weights are random, with norms that fit their inputs. Clips are short and small, which changes no operation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/export_table.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line per model; returns 1 and writes no page if one of them cannot be exported."""
    args = parse_arguments(argv)
    from tools.exporting.export_table import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="export_table.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", help="only models whose name contains one of these")
    parser.add_argument("--write", action="store_true", help="write docs/export_models.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
