"""Makes a labelled data set from videos without labels: a pretext task, whose classes the footage itself gives.

--task speed: how fast a clip plays, such as 1, 2 or 4 times as fast (SpeedNet). --task direction: forward or backward
(the arrow of time). OUT gets frames/<class>/<clip>/, lists/, clips.csv, which says where each clip comes from, and
pretext.json. All classes show the same places: the same part of the same shot, cut out by the same box, and chosen
without a look at the class, so that a single frame says nothing about it. Shots are found by jumps of the colours, and
a shot either trains or validates; a long one is divided in time, with a gap.
Exit code 1: written, but some videos were left out because they are damaged; 2: wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/make_pretext.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli
from utils.errors import UserError
from utils.system import cores


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the data set; does nothing where it is there already."""
    args = parse_arguments(argv)
    from tools.dumping.make_pretext import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("videos", type=Path, nargs="+", metavar="VIDEOS", help="videos, and folders of videos")
    add("--out", type=Path, required=True, help="folder of the data set, for example data/speed")
    add("--task", choices=("speed", "direction"), default="speed", help="what the classes are (default speed)")
    add(
        "--speeds",
        type=positive_int,
        nargs="+",
        help="frames from one picture of a clip to the next: the classes of speed (default 1 2 4); for direction, the "
        "speeds that a clip may have (default 2)",
    )
    add("--clips", type=positive_int, default=1200, help="number of clips, of all classes (default 1200)")
    add("--frames", type=positive_int, default=8, help="frames of a clip (default 8)")
    add("--size", type=positive_int, default=128, help="side of the square frames in pixels (default 128)")
    add(
        "--motion",
        type=float,
        default=3.0,
        help="grey levels by which the box must change between two frames next to each other in the video (default 3)",
    )
    add("--val-ratio", type=_ratio, default=0.25, help="share of the footage that validates (default 0.25)")
    add("--seed", type=int, default=0, help="another seed takes other shots and places (default 0)")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    args.speeds = sorted(args.speeds or ([1, 2, 4] if args.task == "speed" else [2]))
    if len(set(args.speeds)) < len(args.speeds) or (args.task == "speed" and len(args.speeds) < 2):
        raise UserError(f"--speeds {' '.join(map(str, args.speeds))}: give different speeds, for speed at least two")
    if args.frames < 2:
        raise UserError("--frames 1: a single frame has no speed and no direction; give at least 2")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: give a number from 0 on")
    if not 0 <= args.motion < 255:
        raise UserError(f"--motion {args.motion:g}: give a number from 0 to below 255")
    return args


def _ratio(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
