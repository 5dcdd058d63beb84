"""Starts a script as several processes on this machine under torchrun's agent, and ends with their own exit code.

torchrun itself turns every child's code into 1 and a traceback of its own; what a user did wrong would drown in it.
Restarting is left to tools/launch.sh, which does it alike with and without Slurm.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or the code of the process that failed first: its own, or 128 + the signal that ended it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("processes", type=int, help="how many")
    parser.add_argument("script", help="a Python file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to the script")
    options = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torchrun sets it too, with a warning
    try:
        torchrun.main(["--standalone", f"--nproc-per-node={options.processes}", options.script, *options.arguments])
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
