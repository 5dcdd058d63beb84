"""Encodes the videos of lists again for training: `pack_videos.py OUT LIST... --root ROOT`; training reads OUT.

Pictures get small, key frames close, and sound is left out; numbers and times of frames stay. OUT gets tars of videos,
the times of their frames, so that no run scans them, and lists/ with the same lines as LIST. First it prints what that
saves and costs, measured on ten videos. Running the command again packs what is new or changed, and continues a run
that was stopped. With --shard, many machines share the work. `pack_videos.py OUT --verify` reads everything again and
names damaged videos.
Exit code 1: finished, but some videos could not be packed, or are damaged; 2: wrong input, full disk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/pack_videos.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.dump_frames import parse_shard, parse_size
from utils.cli import Parser, frames_per_second, positive_float, positive_int, run_cli
from utils.system import cores


def main(argv: Sequence[str] | None = None) -> int:
    """Packs, measures or verifies; returns the exit code."""
    args = parse_arguments(argv)
    from tools.dumping.pack_videos import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="pack_videos.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the tars, for example data/small")
    add("lists", nargs="*", metavar="LIST", help="as train_source in a config: lists, CSVs, class folders, tars")
    add("--root", help="folder or address that paths in the lists start from, as train_root")
    add("--multi-label", action="store_true", help="lists of lines `path 3;7;12`, as multi_label in the config")
    add("--with-offset", action="store_true", help="as data.with_offset: lines `path offset num_frames label`")
    add(
        "--size",
        type=parse_size,
        default=(0, 256),
        help="256: short side, of larger pictures (default); 340x256: width x height; 0: as is",
    )
    add("--key-frames", type=positive_int, default=12, metavar="N", help="a key frame every N frames (default 12)")
    add("--codec", choices=("h264", "hevc", "av1", "mpeg4", "mjpeg"), default="h264", help="(default: h264)")
    add("--crf", type=positive_int, help="how much may be lost: a smaller number loses less (default: 20 for h264)")
    add("--fps", type=frames_per_second, help="rate that videos with more frames per second are brought to")
    add("--shard-mb", type=positive_float, default=512, help="size of a tar (default %(default)s)")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    add("--shard", type=parse_shard, metavar="I/N", help="pack only part I of N, from 0/N on; all into the same OUT")
    add("--bad-videos", type=int, metavar="N", help="end when more than N videos cannot be packed (default: never)")
    add("--estimate", type=positive_int, metavar="N", help="measure N videos, keep nothing, print what all would cost")
    add("--verify", action="store_true", help="only read the tars in OUT again")
    args = parser.parse_args(argv)
    if args.verify == bool(args.lists):
        parser.error("give either lists to pack or --verify")
    if args.estimate and args.shard:
        parser.error("--estimate measures videos of the whole set; leave out --shard")
    if args.bad_videos is not None and args.bad_videos < 0:
        parser.error(f"--bad-videos {args.bad_videos}: give a number from 0 on")
    return args


if __name__ == "__main__":
    run_cli(main)
