"""Dumps videos to JPEG frames: VIDEOS, in class folders or flat with a CSV, becomes the dataset OUT.

OUT gets frames/<class>/<video>/img_00001.jpg ..., lists/ (for tools/make_lists.py), manifest.jsonl and README. A folder
of frames is complete or absent. Running the command again dumps what is missing. With --shard, many machines share the
work.
Exit code 1: finished, but some videos failed; 2: wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/dump_frames.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, frames_per_second, jpeg_quality, positive_int, run_cli
from utils.system import cores


def main(argv: Sequence[str] | None = None) -> int:
    """Dumps the videos and prints a summary."""
    args = parse_arguments(argv)
    from tools.dumping.dump_frames import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("videos", type=Path, metavar="VIDEOS", help="folder of class folders with videos, or of videos with --csv")
    add("out", type=Path, metavar="OUT", help="the dataset, for example data/ucf101")
    add("--csv", type=Path, action="append", help="file,label per line (or JSON); may have start,end in seconds")
    add("--class-folder", choices=("first", "last"), default="first", help="where folders are nested (default: first)")
    add("--unlabelled", action="store_true", help="also dump videos that --csv gives no label: test sets")
    add("--flat", action="store_true", help="write frames/v_<class>_<video>/ instead of frames/<class>/<video>/")
    add(
        "--size", type=parse_size, default=(0, 256), help="256: short side (default); 340x256: width x height; 0: as is"
    )
    add("--fps", type=frames_per_second, help="frames per second (default: all frames)")
    add("--every", type=positive_int, default=1, help="keep every n-th frame (after --fps)")
    add("--quality", type=jpeg_quality, default=95, help="JPEG quality, 1 to 100 (default 95)")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    add("--shard", type=parse_shard, metavar="I/N", help="dump only part I of N, from 0/N on; all into the same OUT")
    add("--keep-partial", action="store_true", help="keep the readable frames of a damaged video")
    add("--overwrite", action="store_true", help="replace frames with other settings or from another source")
    add("--estimate", type=positive_int, metavar="N", help="dump N videos, keep nothing, print what all would cost")
    add("--whole", type=positive_int, default=0, metavar="N", help="with --estimate: number of videos in the whole set")
    args = parser.parse_args(argv)
    if args.estimate and args.shard:
        parser.error("--estimate measures videos of the whole set; leave out --shard")
    return args


def parse_shard(text: str) -> tuple[int, int]:
    """Reads `3/8` as (3, 8): the fourth of eight parts, which are counted from 0 as ranks are."""
    number, slash, count = text.partition("/")
    if (
        not slash
        or not all(one.isascii() and one.isdigit() and len(one) < 7 for one in (number, count))
        or count == "0"
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 3/8 (part 3 of 8, counted from 0)")
    if int(number) >= int(count):
        raise argparse.ArgumentTypeError(f"{text!r}: parts count from 0, so the last one is {int(count) - 1}/{count}")
    return int(number), int(count)


def parse_size(text: str) -> tuple[int, int]:
    """Reads `256` as (0, 256), the short side, `340x256` as (340, 256), width and height, and `0` as it is."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like 256 (short side), 340x256 (width x height) or 0 (as is)"
        )
    width, height = (int(number) for number in (numbers if len(numbers) == 2 else ["0", *numbers]))
    if (len(numbers) == 2 and not (width and height)) or max(width, height) > 16384:
        raise argparse.ArgumentTypeError(f"{text!r}: sides go from 1 to 16384")
    return width, height


if __name__ == "__main__":
    run_cli(main)
