"""Shows where in a video a network looks: Grad-CAM or attention rollout as a strip of frames, a film or a GIF.

    python -m tools.cam ckpt_best.pth.tar video.mp4 seen.png seen.mp4
    python -m tools.cam ckpt_best.pth.tar video.mp4 seen.gif --class "play guitar" --layer backbone.layer3
    python -m tools.cam ckpt_best.pth.tar match.mp4 seen.mp4 --start 60 --end 90 --window 4 --step 4
    python -m tools.cam ckpt_best.pth.tar --record v_Archery_g01_c01 seen.png
    python -m tools.cam ckpt_best.pth.tar video.mp4 seen.png --method rollout

The pictures show what the network saw: the centre crop of one clip, sampled by the checkpoint's test protocol, or with
--window one clip per window. The colour scale runs from none through blue and green to red, the largest value of the
clip. On a CPU the same command writes the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/cam.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.inference.arguments import add_checkpoint_arguments, add_fps_argument
from utils.cli import Parser, positive_float, run_cli
from utils.errors import UserError

STILL, MOVING = ".png", (".mp4", ".gif")


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the pictures."""
    args = parse_arguments(argv)
    from tools.inference.cam import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line. `input` is the video, None with --record; `out` lists the pictures to write."""
    parser = Parser(
        prog="python -m tools.cam", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("paths", nargs="*", metavar="VIDEO|FOLDER OUT", help="a video or frames; a .png, .mp4 or .gif")
    parser.add_argument(
        "--record", metavar="PATH", help="a path of the list in place of a video, read as the list says"
    )
    parser.add_argument("--split", choices=("val", "train"), default="val", help="the list of --record (default val)")
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="class name or index (default: the predicted class)"
    )
    parser.add_argument(
        "--method",
        choices=("auto", "grad-cam", "rollout"),
        default="auto",
        help="grad-cam: of one class at a layer (arXiv 1610.02391); rollout: attention of a transformer, the same for "
        "every class (arXiv 2005.00928); default: rollout where the network has it, without --class and --layer",
    )
    parser.add_argument(
        "--layer", action="append", metavar="NAME", help="dotted name, may be repeated (default: the last)"
    )
    parser.add_argument("--list-layers", action="store_true", help="print the names that --layer takes")
    parser.add_argument("--start", type=positive_float, default=0.0, help="seconds at which to begin")
    parser.add_argument("--end", type=positive_float, default=float("inf"), help="seconds at which to end")
    parser.add_argument("--window", type=positive_float, help="seconds per clip, one clip after another")
    parser.add_argument("--step", type=positive_float, help="seconds between windows (default: half a window)")
    add_fps_argument(parser.add_argument)
    parser.add_argument("--rate", type=positive_float, help="frames per second of the film (default: real time)")
    args = parser.parse_intermixed_args(argv)
    paths = [] if args.list_layers else args.paths
    args.input = paths[0] if paths and args.record is None else None
    args.out = [Path(path) for path in (paths if args.input is None else paths[1:])]
    if not args.list_layers and not args.out:
        parser.error("name a video, or a --record, and the picture to write")
    if args.end <= args.start:
        parser.error(f"--end {args.end:g} must be after --start {args.start:g}")
    for target in args.out:
        if target.suffix.lower() not in (STILL, *MOVING):
            raise UserError(f"{target}: strips are written as .png, films as .mp4 or .gif")
        if not target.parent.is_dir():
            raise UserError(f"{target}: there is no folder {target.parent}")
    return args


if __name__ == "__main__":
    run_cli(main)
