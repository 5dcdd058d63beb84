"""Scores published weights on a list of videos, and prints the score next to the published one.

    python -m tools.verify_published kinetics400/tsm_r50_8f_mmaction2 data/kin400/lists/val.txt
    python -m tools.verify_published kinetics400/r3d_18_torchvision val.txt --root videos common.data.store.type=video

The videos are cut and averaged by the published protocol: that of the recipe in exps/, or the views that the source
names and the preprocessing of its project. A list with a part of the videos gives a number of that part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/verify_published.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both scores and their difference."""
    args = parse_arguments(argv)
    from tools.importing.verify_published import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.verify_published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="published weights, as tools.weights lists them")
    parser.add_argument("list", type=Path, metavar="LIST", help="videos and labels, as for val_source")
    parser.add_argument("overrides", nargs="*", metavar="common.key=value", help="change a key of the config")
    parser.add_argument("--root", type=Path, help="folder of videos or frames (default: that above LIST's folder)")
    parser.add_argument("--out", type=Path, help="keep the scores of each video in this new folder")
    return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
    run_cli(main)
