"""Packs the frames of lists into a few large files: `pack_frames.py OUT LIST... --root ROOT`; training reads OUT.

In the config: `data: {store: {type: packed, folder: OUT}}`. Running the command again packs what is new or changed, and
continues a run that was stopped. --flow packs the optical flow of the videos instead of their frames. `pack_frames.py
OUT --verify` reads everything again and names the videos of damaged shards.
Exit code 1: finished, but some videos could not be packed, or are damaged; 2: wrong input, full disk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/pack_frames.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_float, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Packs or verifies; returns the exit code."""
    args = parse_arguments(argv)
    from tools.dumping.pack_frames import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="pack_frames.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the pack")
    parser.add_argument("lists", type=Path, nargs="*", metavar="LIST", help="list files, as in the config")
    parser.add_argument("--root", type=Path, help="folder that paths in the lists start from, as train_root")
    parser.add_argument("--flow", action="store_true", help="pack what tools/dump_flow.py made, not the frames")
    parser.add_argument("--frame-template", help="as data.frame_template (default: detected)")
    parser.add_argument("--first-frame", type=int, help="as data.first_frame (default: detected)")
    parser.add_argument("--multi-label", action="store_true", help="lists of path num_frames 3;7;12")
    parser.add_argument("--with-offset", action="store_true", help="as data.with_offset: path offset num_frames label")
    parser.add_argument("--shard-mb", type=positive_float, default=512, help="size of a shard (default %(default)s)")
    parser.add_argument("--workers", type=positive_int, default=4, help="threads that read (default %(default)s)")
    parser.add_argument("--verify", action="store_true", help="only read the pack in OUT again")
    args = parser.parse_args(argv)
    if args.verify == bool(args.lists):
        parser.error("give either lists to pack or --verify")
    if args.lists and args.root is None:
        parser.error("--root is missing: give what the config has as train_root")
    return args


if __name__ == "__main__":
    run_cli(main)
