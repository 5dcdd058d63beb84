"""Draws a contact sheet of what the network will really see: clips after sampling, crop, flip, colour and erasing.

    python -m tools.browse_data exps/mine/config.yaml --out sheet.png

Each view of a video is one row, with its path, its label after the flip, and the 0-based indices of its frames.
Optical flow is shown in colours: the hue is the direction, and white does not move. Differences of frames are shown
around grey.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/browse_data.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the sheet."""
    args = parse_arguments(argv)
    from tools.checking.browse_data import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="browse_data.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", metavar="CONFIG", help="config.yaml of an experiment")
    parser.add_argument("overrides", nargs="*", metavar="common.key=value", help="change a key of the config")
    parser.add_argument(
        "--val", action="store_true", help="show the validation list as it is tested, not the training list"
    )
    parser.add_argument(
        "--count", type=positive_int, default=12, help="number of videos, spread over the list (default 12)"
    )
    parser.add_argument("--epoch", type=int, default=0, help="epoch whose random draws are shown (default 0)")
    parser.add_argument("--out", default="sheet.png", help="PNG to write (default sheet.png)")
    return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
    run_cli(main)
