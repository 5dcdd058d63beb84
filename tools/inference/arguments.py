"""Declares the options that all commands for trained networks share. Imports nothing heavy: --help answers at once.

The defaults here are those of the Python functions, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_FPS = 25.0  # frame rate of folders of frames, and of files that do not state theirs
TOPK = 5  # classes in an answer
BATCH_SIZE = 8  # clips in one forward pass


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a network: CKPT, --config, --device, --trust-pickle."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help="a checkpoint, or a name that tools.weights lists"
    )
    parser.add_argument("--config", type=Path, help="config.yaml, for weights that do not show their network")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a file that contains objects; loading it may run code in it"
    )
