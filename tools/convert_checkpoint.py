"""Turns a checkpoint of another project into an experiment folder of this one: ckpt_best.pth.tar and config.yaml.

    python -m tools.convert_checkpoint FILE OUT [common.key=value ...]

FILE is recognised by its content. It may come from MIT TSM and TSN, tsn-pytorch, mmaction2, PySlowFast (Caffe2 too),
PyTorchVideo, torchvision, VMZ, VideoMAE, V-JEPA 2, TimeSformer, Hugging Face, the original project or this one. A
config inside the file, as mmaction2 and PySlowFast keep it, is followed. What neither the config nor the weights say is
assumed, named in the report and in the new config, and changed by overrides: common.model.num_segments=16. Set your
lists in the same way, or edit the config afterwards.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/convert_checkpoint.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Converts one file."""
    args = parse_arguments(argv)
    from tools.importing.convert_checkpoint import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.convert_checkpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="checkpoint of any known project")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    parser.add_argument("overrides", nargs="*", metavar="common.key=value", help="keys that the file does not decide")
    parser.add_argument("--head", type=Path, metavar="FILE", help="a probe of V-JEPA 2, to join to FILE, its encoder")
    parser.add_argument("--class-names", type=Path, metavar="FILE", help="class file: the names by index")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a file that contains more than weights; it may run code"
    )
    return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
    run_cli(main)
