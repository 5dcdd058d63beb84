"""Runs a command line of torchvision's video reference script here, as an experiment folder.

    python -m tools.from_torchvision --data-path /data/kinetics400 --kinetics-version 400 --lr 0.08 --sync-bn --amp
    torchrun --nproc_per_node=8 -m tools.from_torchvision ...

Writes config.yaml, train.sh, eval.sh and classInd.txt, prints what differs and which learning rate belongs to how many
GPUs, then trains (--test-only: scores) with main.py. The same command again continues where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/from_torchvision.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.importing.torchvision_flags import parse
from utils.cli import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Converts one command line and runs it."""
    argv = sys.argv[1:] if argv is None else argv
    args, overrides = parse(argv)
    from tools.importing.from_torchvision import run

    return run(args, overrides, argv)


if __name__ == "__main__":
    run_cli(main)
