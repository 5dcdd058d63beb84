"""Runs a one-directional network frame by frame: each frame once, with what it remembers of those before.

    python -m tools.stream ckpt_best.pth.tar video.mp4
    python -m tools.stream ckpt_best.pth.tar "day?/*.mp4"
    python -m tools.stream ckpt_best.pth.tar 0
    python -m tools.stream ckpt_best.pth.tar rtsp://camera/door
    python -m tools.stream ckpt_best.pth.tar --check

For checkpoints trained with `shift: uni`, of TSM or of another temporal module. Prints the class of the last frames and
the time per frame. Where the frames of a video follow each other faster than those that the network was trained on, a
warning names the --every that comes nearest. --check compares frame by frame with the network as it was trained: 64
frames in one clip, each frame's logits and their mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/stream.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import add_checkpoint_arguments, add_fps_argument, add_input_argument
from utils.cli import Parser, positive_float, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Streams, or checks; returns 1 when the check finds a difference."""
    args = parse_arguments(argv)
    from tools.inference.stream import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.stream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint_arguments(parser)
    add_input_argument(parser)
    parser.add_argument("--check", action="store_true", help="compare with the offline network; noise without a video")
    parser.add_argument("--every", type=positive_int, help="use every n-th frame (default 1)")
    parser.add_argument("--over", type=positive_int, help="frames averaged for an answer (default: as in training)")
    parser.add_argument("--print", type=positive_float, default=1.0, help="seconds of video per line (default 1)")
    add_fps_argument(parser.add_argument)
    args = parser.parse_args(argv)
    if not args.input and not args.check:
        parser.error("name a video, a folder of frames, a camera or an address")
    return args


if __name__ == "__main__":
    run_cli(main)
