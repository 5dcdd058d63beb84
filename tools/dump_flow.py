"""Dumps optical flow next to the frames of DATASET, as TSN stores it: flow_x_00001.jpg, flow_y_00001.jpg, ...

DATASET is what tools/dump_frames.py made, or any folder of frame folders. N frames give N - 1 fields. Grey levels 0 to
255 stand for -bound..bound pixels. The flow of a video is complete or absent. Running the command again dumps what is
missing, and manifest_flow.jsonl says how it was made.
Exit code 1: finished, but some videos failed; 2: wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/dump_flow.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, jpeg_quality, positive_float, positive_int, run_cli
from utils.system import cores

# as in utils.transforms.flow, which imports OpenCV; a test compares them
ALGORITHMS = ("dis", "tvl1")
BOUND = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Dumps the flow and prints a summary."""
    args = parse_arguments(argv)
    from tools.dumping.dump_flow import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="for example data/ucf101, which holds frames/")
    add("--algorithm", choices=ALGORITHMS, default="dis", help="tvl1 is TSN's, and much slower (default dis)")
    add("--bound", type=positive_float, default=BOUND, help="pixels; larger motion is cut to it (default 20)")
    add("--step", type=positive_int, default=1, help="flow from each frame to the n-th after it (default 1)")
    add("--quality", type=jpeg_quality, default=95, help="JPEG quality, 1 to 100 (default 95)")
    add("--from-videos", action="store_true", help="decode the videos again instead of the JPEGs of the frames")
    add("--workers", type=positive_int, default=cores(), help="processes (default: one per core)")
    add("--overwrite", action="store_true", help="replace flow with other settings, or that this tool did not make")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
