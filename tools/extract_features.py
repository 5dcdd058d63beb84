"""Writes the output of a layer of a trained network for videos: one row per video, or one per window with its times.

    python -m tools.extract_features ckpt_best.pth.tar videos/ features/ --layer backbone.avgpool
    python -m tools.extract_features ckpt_best.pth.tar videos/ features.h5 --layer backbone.layer4 --window 2 --step 1
    python -m tools.extract_features ckpt_best.pth.tar --list-layers
    python -m tools.extract_features ckpt_best.pth.tar videos/ features/ --layer backbone.avgpool --for actionformer \
        --labels labels.json --window 1 --step 0.25

The same command again continues where it was stopped. An entry has `features` (windows, ...) and `times` (windows, 2),
in seconds. --for writes the files of another project instead, with labels; docs/segments.md describes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/extract_features.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import add_checkpoint_arguments, add_fps_argument
from utils.cli import Parser, positive_float, positive_int, run_cli

PROJECTS = ("actionformer", "opentad", "mstcn")


def main(argv: Sequence[str] | None = None) -> int:
    """Extracts what is missing; returns 1 when a video could not be read."""
    args = parse_arguments(argv)
    from tools.inference.extract_features import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.extract_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("input", nargs="*", metavar="VIDEO|FOLDER", help="videos, folders of them, or of frames")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="a folder for .npz files, or a file .h5")
    parser.add_argument("--list-layers", action="store_true", help="print the names that --layer takes")
    parser.add_argument("--layer", default="", help="dotted name (default: the network's logits)")
    parser.add_argument(
        "--pool", choices=("space", "all", "none"), default="space", help="what to average over (default space)"
    )
    parser.add_argument("--window", type=positive_float, help="seconds per row (default: one row by the test protocol)")
    parser.add_argument("--step", type=positive_float, help="seconds between rows (default: half a window)")
    parser.add_argument("--sampling", help="rule that picks the frames of a clip (default: the checkpoint's)")
    parser.add_argument("--num-frames", type=positive_int, help="frames of a clip (default: the checkpoint's)")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="clips at once (default 8)")
    add_fps_argument(parser.add_argument)
    parser.add_argument("--for", dest="project", choices=PROJECTS, help="write what this project reads, from a folder")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="spans for --for, in a format of tools.spans")
    args = parser.parse_args(argv)
    if len(args.input) > 1:
        *args.input, out = args.input  # argparse gives all names to the first argument that takes several
        args.out = Path(out)
    if not args.list_layers and args.out is None:
        parser.error("name the videos and where their features go")
    if args.project is not None and not args.list_layers:
        _check_project(parser, args)
    elif args.labels is not None:
        parser.error("--labels is for --for")
    return args


def _check_project(parser: Parser, args: argparse.Namespace) -> None:
    if args.labels is None or not args.layer or args.window is None or args.step is None:
        parser.error("--for needs --labels, --layer, --window and --step")
    if len(args.input) != 1:
        parser.error("--for takes one folder of videos")


if __name__ == "__main__":
    run_cli(main)
