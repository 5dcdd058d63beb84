"""Says when something happens in videos: a network's scores over time become segments with a start, an end and a class.

    python -m tools.segment ckpt_best.pth.tar film.mp4 --out answer.json
    python -m tools.segment ckpt_best.pth.tar films/ --window 2 --step 0.5 --smoothing 0.5 --high 0.6 --low 0.4
    python -m tools.segment ckpt_best.pth.tar film.mp4 --format srt --out film.srt --page film.html
    python -m tools.segment ckpt_best.pth.tar films/ --high 0.2 0.4 0.6 --soft-nms 0.5 --thresholds scores.json

Windows slide over each video in one pass. A segment of a class is a stretch of windows with high scores of it.
docs/segments.md describes the options. Exit code 1: a video of several could not be read.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/segment.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import BATCH_SIZE, add_checkpoint_arguments, add_fps_argument
from utils.cli import Parser, finite_float, positive_float, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes the segments; returns 1 when a video of several could not be read."""
    args = parse_arguments(argv)
    from tools.inference.segment import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.segment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("input", nargs="+", metavar="VIDEO|FOLDER", help="files, patterns, or folders")
    add = parser.add_argument_group("scores over time").add_argument
    add("--window", type=positive_float, metavar="SECONDS", help="length of a window (default: as in training)")
    add(
        "--step",
        type=positive_float,
        metavar="SECONDS",
        help="step from one window to the next (default: half a window)",
    )
    add("--batch-size", type=positive_int, default=BATCH_SIZE, help=f"clips at once (default {BATCH_SIZE})")
    add_fps_argument(add)
    add = parser.add_argument_group("from scores to segments").add_argument
    add(
        "--smoothing",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="standard deviation of the Gaussian that averages scores (default 0)",
    )
    add("--high", type=finite_float, nargs="+", default=[0.5], metavar="SCORE",
        help="a segment reaches this score (default 0.5); of several, each gives its own segments")  # fmt: skip
    add(
        "--low",
        type=finite_float,
        metavar="SCORE",
        help="a segment has at least this score everywhere (default: that of --high)",
    )
    add("--min-length", type=_seconds, default=0.0, metavar="SECONDS", help="leave out shorter segments")
    repeats = parser.add_mutually_exclusive_group()
    repeats.add_argument(
        "--nms", type=_share, metavar="OVERLAP", help="leave out segments that overlap a better one by more than this"
    )
    repeats.add_argument(
        "--soft-nms",
        type=positive_float,
        metavar="SIGMA",
        help="lower the scores of such segments instead; usual is 0.5",
    )
    add("--thresholds", type=Path, metavar="FILE", help="leave out segments below their class's threshold in this "
        "file, which tools.score_segments --json has written")  # fmt: skip
    add("--background", metavar="NAME", help="class of moments without a segment")
    add = parser.add_argument_group("files").add_argument
    add("--out", type=Path, metavar="PATH", help="write the segments; a folder for formats of one file per video")
    add("--format", default="activitynet", metavar="FORMAT", help="format of --out: srt, vtt, csv, elan, label_studio "
        "and all others that tools.spans knows (default activitynet)")  # fmt: skip
    add("--scores", type=Path, metavar="PATH", help="write times, scores and class names: an .npz file, or a folder")
    add("--page", type=Path, metavar="FILE", help="write an HTML page with the videos and their segments")
    args = parser.parse_args(argv)
    if len(args.high) > 1 and args.nms is None and args.soft_nms is None:
        parser.error("several --high give segments that overlap: add --nms or --soft-nms")
    if len(args.high) > 1 and args.low is not None:
        parser.error("--low is for a single --high")
    if args.low is not None and args.low > args.high[0]:
        parser.error(f"--low {args.low:g} is above --high {args.high[0]:g}")
    return args


def _seconds(text: str) -> float:
    if not 0 <= float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 on")
    return float(text)


def _share(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
