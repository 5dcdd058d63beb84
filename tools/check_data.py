"""Checks data sets: says in plain words what is wrong with the lists and with the frames they name.

TARGET is a config.yaml, a folder that holds train.txt, val.txt and test.txt (or has them in lists/), or a single list.
Lists of encoded videos are train.csv, val.csv and test.csv, or those of a config with data.store.type: video. In val
and test a label may be -1, for a video whose class is unknown. Without --quick every frame is decoded, those of encoded
videos too, and every field where a config trains on optical flow. --fix writes repaired lists in place and keeps the
originals as *.orig; frames and videos are never touched.
Exit code 0: nothing is wrong, or all of it was fixed; 2: something is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/check_data.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_float, positive_int, run_cli
from utils.system import cores


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, and with --fix repairs; returns the exit code."""
    args = parse_arguments(argv)
    from tools.checking.check_data import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="check_data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, metavar="TARGET", help="config.yaml, folder of lists, or a list")
    parser.add_argument(
        "--root", type=Path, help="folder that paths in the lists start from (default: found near them)"
    )
    parser.add_argument("--class-names", type=Path, help="class file (default: classInd.txt next to the lists)")
    parser.add_argument("--frame-template", help="as data.frame_template (default: what most videos have)")
    parser.add_argument("--first-frame", type=int, help="as data.first_frame (default: what most videos have)")
    parser.add_argument("--multi-label", action="store_true", help="as multi_label: lines of path num_frames 3;7;12")
    parser.add_argument("--with-offset", action="store_true", help="as data.with_offset: path offset num_frames label")
    parser.add_argument("--fps", type=positive_float, help="as data.fps (default: what the manifest of a dump says)")
    parser.add_argument("--flow", action="store_true", help="check optical flow, as for configs that train on it")
    parser.add_argument("--quick", action="store_true", help="names, numbers and sizes only: decode nothing")
    parser.add_argument(
        "--record-checksums",
        action="store_true",
        help="keep a checksum of every readable frame in its folder, as a dump does; later changes are then errors",
    )
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    parser.add_argument("--fix", action="store_true", help="write repaired lists in place")
    args = parser.parse_args(argv)
    if args.record_checksums and args.quick:
        parser.error("--record-checksums reads every frame, and --quick reads none")
    return args


if __name__ == "__main__":
    run_cli(main)
