"""Makes `motion8`, the small dataset of the demo: textures that move in one of eight ways, as MP4 files.

The classes come in time-reversed pairs, and both members of a pair are made of the very same pictures (every frame is
coded on its own, so this holds to the bit after decoding). No single frame and no unordered set of frames tells them
apart: only their order does. Textures of the validation videos are finer or coarser than those in training, and move
slower or faster. The output looks like UCF-101: class folders, group numbers, trainlist01.txt and testlist01.txt.

With --films, the motions are joined to films of 30 seconds, with background between them, and spans.csv says when each
begins and ends.
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
    from tools.dumping import make_films, make_motion8

    return (make_films if args.films else make_motion8).run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the videos, for example data/motion8/videos")
    parser.add_argument("--films", action="store_true", help="films with spans, in place of clips")
    parser.add_argument("--train", type=positive_int, help="number of training videos (default 480; films 16)")
    parser.add_argument("--val", type=positive_int, help="number of validation videos (default 200; films 6)")
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="length of a film (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other textures (default 0)")
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")
    if args.seconds is not None and not args.films:
        parser.error("--seconds is the length of --films")
    train, val = (16, 6) if args.films else (480, 200)
    args.train, args.val, args.seconds = args.train or train, args.val or val, args.seconds or 30.0
    return args


def _seconds(text: str) -> float:
    if not 5 <= float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 5 to 3600")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
