"""Declares the options that all commands for trained networks share. Imports nothing heavy: --help answers at once.

The defaults here are those of the Python functions, too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.cli import positive_float

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


def add_input_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the videos, folders, cameras and addresses of the commands that look at all of these."""
    parser.add_argument(
        "input",
        nargs="*",
        metavar="VIDEO|FOLDER|CAMERA|ADDRESS",
        help="files, patterns, folders, an address, or 0: a camera",
    )


def add_fps_argument(add: Callable[..., object]) -> None:
    """Adds --fps, None where it is not given. add: `add_argument` of a parser, or of a group of one."""
    add(
        "--fps",
        type=positive_float,
        metavar="RATE",
        help=f"frame rate of a folder of frames (default {DEFAULT_FPS:g}); videos and cameras have their own",
    )


def frame_rate(given: float | None, inputs: Sequence[str | os.PathLike[str]]) -> float:
    """Returns the frame rate of folders of frames, and prints a warning where --fps is given and there is no folder."""
    if given is not None and not any(Path(one).is_dir() for one in inputs):
        print(
            f"warning: --fps {given:g} changes nothing: it is for folders of frames, and everything else has a rate of "
            "its own",
            file=sys.stderr,
        )
    return DEFAULT_FPS if given is None else given
