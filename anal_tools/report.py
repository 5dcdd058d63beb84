"""Writes one HTML file that shows what a model does and where it is wrong. It opens offline and needs no other file:

    python -m anal_tools.report -e exps/<dataset>/<experiment> [another experiment ...] [-o FILE]

Videos that show several classes each get sections of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python anal_tools/report.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report of the experiments that the arguments name."""
    args = parse_arguments(argv)
    from anal_tools.report_html import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="report.py", description="One self-contained HTML report; with several experiments, a comparison."
    )
    parser.add_argument(
        "-e",
        "--experiment",
        required=True,
        nargs="+",
        metavar="EXP",
        help="experiment folders; all are compared with the first",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="default EXP/analysis/report.html, or comparison.html for several"
    )
    parser.add_argument(
        "--notes", metavar="FILE", help="text that the page begins with: paragraphs, and headings that begin with #"
    )
    parser.add_argument(
        "--segments",
        type=Path,
        metavar="FILE",
        help="answers with times, as tools.segment writes them, which are scored against the spans of the list",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
