"""Writes a trained network as ONNX or as a PyTorch program, and compares each file with the checkpoint.

    python -m tools.export ckpt_best.pth.tar model.onnx model.pt2
    python -m tools.export ckpt_best.pth.tar step.onnx --streaming

The batch size is free; frames and size are those of the checkpoint's test protocol; input is normalised RGB. Class
names and preprocessing are in the file. With --streaming the program takes one frame and a state, and returns logits
and the next state (networks with `shift: uni`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/export.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.exporting import SUFFIXES, TOLERANCE
from tools.inference.arguments import add_checkpoint_arguments
from utils.cli import Parser, positive_float, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Writes each file that agrees with PyTorch; a file that does not is an error and is not written."""
    args = parse_arguments(argv)
    from tools.exporting.export import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("out", type=Path, nargs="+", metavar="OUT", help="files to write, named .onnx or .pt2")
    parser.add_argument("--streaming", action="store_true", help="export the step of one frame instead of a whole clip")
    parser.add_argument(
        "--tolerance",
        type=positive_float,
        default=TOLERANCE,
        help="largest allowed difference of a logit, relative to the largest logit if that is above 1 "
        f"(default {TOLERANCE})",
    )
    args = parser.parse_args(argv)
    for path in args.out:
        if path.suffix not in SUFFIXES:
            parser.error(f"{path}: the name has to end in {' or '.join(SUFFIXES)}")
    args.device = "cpu"
    return args


if __name__ == "__main__":
    run_cli(main)
