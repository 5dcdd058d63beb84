"""Writes a trained network as ONNX or as a PyTorch program, and compares it with the checkpoint in the same breath.

    python -m tools.export ckpt_best.pth.tar model.onnx model.pt2
    python -m tools.export ckpt_best.pth.tar step.onnx --streaming

The batch is free, frames and size are those of the checkpoint's test protocol; input is normalised RGB. Class names and
preprocessing are in the file. Streaming: one frame and a state in, logits and the next state out (TSM, `shift: uni`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/export.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.exporting.export import FORMATS, clip_network, export, streaming_step, trace
from tools.inference import trained as _trained
from utils.cli import Parser, positive_float, run_cli

TOLERANCE = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """Writes each file that compares well; an error, and no file, where it does not."""
    parser = Parser(
        prog="python -m tools.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _trained.add_arguments(parser)
    parser.add_argument("out", type=Path, nargs="+", metavar="OUT", help="files to write, by suffix .onnx or .pt2")
    parser.add_argument("--streaming", action="store_true", help="the step of one frame instead of the whole clip")
    parser.add_argument(
        "--tolerance",
        type=positive_float,
        default=TOLERANCE,
        help=f"largest difference of a logit, in units of the largest logit if that is above 1 (default {TOLERANCE})",
    )
    args = parser.parse_args(argv)
    for path in args.out:
        if path.suffix not in FORMATS:
            parser.error(f"{path}: the name has to end in {' or '.join(FORMATS)}")
    args.device = "cpu"
    trained = _trained.from_arguments(args)
    network = streaming_step(trained) if args.streaming else clip_network(trained)
    shapes = ", ".join(
        f"{name} (batch, {', '.join(map(str, value.shape[1:]))})"
        for name, value in zip(network.inputs, network.example(1), strict=True)
    )
    program = trace(network)
    for path in args.out:
        difference = export(network, program, path, args.tolerance)
        print(f"{path}: {shapes} -> {', '.join(network.outputs)}, {trained.num_class} classes")
        print(f"  largest difference from PyTorch {difference:.1e}, allowed {args.tolerance:.0e}")
    return 0


if __name__ == "__main__":
    run_cli(main)
