"""Shows the experiments below a folder that have run in one table: how good, at what cost, what differs from a base:

    python -m anal_tools.ledger exps/ [--all] [--base EXP] [--csv FILE]

The newest run comes first. It reads what ran from runs.jsonl (config.yaml without it), metrics.jsonl and the results. A
folder that cannot be read gets a line that says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python anal_tools/ledger.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, and writes the CSV if one is asked for."""
    args = parse_arguments(argv)
    from anal_tools.ledger_table import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="ledger.py", description="All experiments below a folder in one table.")
    parser.add_argument("folder", metavar="EXPS", help="folder with experiment folders at any depth")
    parser.add_argument("--all", action="store_true", help="also list experiments that have not run yet")
    parser.add_argument("--base", metavar="EXP", help="experiment to compare configs with (default: the first)")
    parser.add_argument("--csv", metavar="FILE", help="also write the table as CSV; - prints it instead of the table")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
