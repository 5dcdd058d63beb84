"""Makes `motion8`, the small dataset of the demo: textures that move in one of eight ways, as MP4 files.

The classes come in time-reversed pairs, and both members of a pair are made of the very same pictures (every frame is
coded on its own, so this holds to the bit after decoding). No single frame and no unordered set of frames tells them
apart: only their order does. Textures of the validation videos are finer or coarser than those in training, and move
slower or faster. The output looks like UCF-101: class folders, group numbers, trainlist01.txt and testlist01.txt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/make_motion8.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError
from utils.system import cores


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the dataset; does nothing where it is there already."""
    args = parse_arguments(argv)
    from tools.dumping.make_motion8 import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the videos, for example data/motion8/videos")
    parser.add_argument("--train", type=positive_int, default=480, help="number of training videos (default 480)")
    parser.add_argument("--val", type=positive_int, default=200, help="number of validation videos (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other textures (default 0)")
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")
    return args


if __name__ == "__main__":
    run_cli(main)
