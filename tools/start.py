"""Goes from a folder of videos to a recogniser and the truth about it, in one command:

    python -m tools.start VIDEOS [--backbone NAME] [--out FOLDER]

VIDEOS has one folder of videos for each class. The command looks at them, makes lists, and trains two small heads on
the features of an image network that stays as it is: one knows the order of the frames, the other does not. On a video
network it trains one head. It tests them on videos that they have not seen, writes a report and an experiment that goes
on from there by fine-tuning, and says at each step what it chose and why. The same command again goes on where it was
stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/start.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError
from utils.system import cores

BACKBONE = "timm/tf_efficientnet_lite0"  # small enough for a laptop, and its weights allow commercial use


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all steps; the last lines printed are the accuracy, where the report is, and what to type next."""
    args = parse_arguments(argv)
    from tools.starting.start import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("videos", type=Path, metavar="VIDEOS", help="folder with one folder of videos for each class")
    network = f"a network of docs/models.md, or published weights of a video network (default {BACKBONE})"
    add("--backbone", default=BACKBONE, metavar="NAME", help=network)
    add("--weights", metavar="FILE|NAME", help="its weights (default: those that are published for it)")
    add("--out", type=Path, metavar="FOLDER", help="experiments, data and report go here (default exps/NAME OF VIDEOS)")
    add("--frames", type=positive_int, metavar="N", help="frames of each video (default: 8, or 16 for long videos)")
    add("--folds", type=positive_int, metavar="K", help="test each video once, in K parts (default: if there are few)")
    add("--group-regex", help="finds in a video's name what it was cut from, as in tools.make_lists")
    add("--seed", type=int, default=0, help="seed of the lists and of the training (default 0)")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    if args.folds == 1:
        raise UserError("--folds 1: one part cannot both train and test; give 2 or more")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")
    return args


if __name__ == "__main__":
    run_cli(main)
