"""Fills the memcached servers of a config with the frames of its lists before the training: `warm_cache.py CONFIG`.

Training fills the cache by itself as it reads. This command does it ahead, shows progress, and says whether everything
fits.
Exit code 1: finished, but some frames could not be stored or read; 2: wrong input, or no server can be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/warm_cache.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Fills the cache; returns the exit code."""
    args = parse_arguments(argv)
    from tools.dumping.warm_cache import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="warm_cache.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="config.yaml with data.store.type: memcached")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a key of the config, as for main.py")
    parser.add_argument("--split", choices=("train", "val", "both"), default="both", help="default %(default)s")
    parser.add_argument("--workers", type=positive_int, default=4, help="threads (default %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_cli(main)
