"""Says what is in videos, in every video of a folder, in a folder of frames, before a camera or at an address.

    python -m tools.predict ckpt_best.pth.tar video.mp4
    python -m tools.predict ckpt_best.pth.tar videos/ --json answers.json --csv answers.csv
    python -m tools.predict ckpt_best.pth.tar match.mp4 --window 4 --step 2 --annotate match_seen.mp4
    python -m tools.predict ckpt_best.pth.tar "day?/*.mp4"
    python -m tools.predict ckpt_best.pth.tar 0
    python -m tools.predict ckpt_best.pth.tar rtsp://camera/door
    python -m tools.predict ckpt_best.pth.tar --serve

Needs nothing but the checkpoint: classes, frames, crops and normalisation are in it. A video of up to a minute gets the
score that an evaluation would give it; a longer one also gets a timeline. A number is a camera, which runs until
Ctrl-C, and so does an address (RTSP, RTMP, HTTP, SRT) unless it ends. --serve opens a page on this machine on which
videos can be dropped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/predict.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import add_checkpoint_arguments, add_fps_argument, add_input_argument
from utils.cli import Parser, positive_float, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the answers; returns 1 when a video of a folder could not be read."""
    args = parse_arguments(argv)
    if args.serve:
        from tools.serving.server import run
    else:
        from tools.inference.predict import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint_arguments(parser)
    add_input_argument(parser)
    parser.add_argument("--topk", type=positive_int, default=5, help="number of classes to print (default 5)")
    parser.add_argument("--window", type=positive_float, help="seconds per window (default: as in training)")
    parser.add_argument("--step", type=positive_float, help="seconds between windows (default: half a window)")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="clips at once (default 8)")
    add_fps_argument(parser.add_argument)
    parser.add_argument("--seconds", type=positive_float, default=float("inf"), help="how long to watch")
    parser.add_argument("--json", metavar="FILE", help="write the answers to FILE; - is the standard output")
    parser.add_argument("--csv", metavar="FILE", help="write the answers as a table, one row per window and class")
    parser.add_argument("--annotate", type=Path, metavar="MP4", help="write a copy of the video with the answers in it")
    page = parser.add_argument_group("a page on this machine")
    page.add_argument("--serve", action="store_true", help="answer for the videos that are dropped on the page")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on; another one opens it to the network")
    page.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000); 0: any that is free")
    page.add_argument("--max-megabytes", type=positive_int, default=512, help="largest video (default 512)")
    args = parser.parse_args(argv)
    if args.serve and (args.input or args.annotate or args.json or args.csv):
        parser.error("--serve gets its videos from the page and answers there, without an input or files")
    if not args.serve and not args.input:
        parser.error("name a video, a folder, a camera or an address, or open a page for them with --serve")
    return args


if __name__ == "__main__":
    run_cli(main)
