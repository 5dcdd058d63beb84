"""Lists published weights, and gets them by their names.

    python -m tools.weights tsm kinetics400
    python -m tools.weights --dataset something_something_v2 --licence commercial --max-size 100
    python -m tools.weights show kinetics400/tsm_r50_8f_mmaction2
    python -m tools.weights get kinetics400/tsm_r50_8f_mmaction2

Every command and config takes such a name where it takes the path of a checkpoint, and fetches the file by itself. A
file in pretrained/ goes before one that was fetched. docs/weights.md says where fetched files lie, and what helps
behind a proxy or without a network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/weights.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_float, run_cli

VERBS = ("show", "get")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what is asked for, or downloads it."""
    args = parse_arguments(argv)
    from tools.listing.weights import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line. `verb` is "show", "get" or "list"."""
    parser = Parser(
        prog="python -m tools.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="list names with all these words; or show|get NAME ..."
    )
    parser.add_argument("--dataset", default="", help="data set of the classifier, such as kinetics400 or imagenet1k")
    parser.add_argument("--network", default="", help="a part of its name, such as tsm or resnet50")
    parser.add_argument(
        "--licence", default="", help="licence, such as MIT; `commercial`: all that allow commercial use"
    )
    parser.add_argument("--max-size", type=positive_float, metavar="MB", help="largest file, of those of known size")
    parser.add_argument("--all", action="store_true", help="also files that no network here can be filled from yet")
    args = parser.parse_intermixed_args(argv)
    args.verb = args.words.pop(0) if args.words and args.words[0] in VERBS else "list"
    if args.verb != "list" and not args.words:
        parser.error(f"{args.verb}: name the weights, for example {args.verb} kinetics400/tsm_r50_8f_mmaction2")
    return args


if __name__ == "__main__":
    run_cli(main)
