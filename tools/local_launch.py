"""Starts a script as several processes on this machine under torchrun's agent, and exits with their own exit code.

torchrun itself turns every exit code into 1 and prints a traceback of its own, which would hide the one line that says
what the user did wrong. tools/launch.sh restarts failed runs, in the same way with and without Slurm. This file imports
nothing of ours, so that the script may belong to any project.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or the code of the process that failed first: its own, or 128 + the signal that ended it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("processes", type=int, help="number of processes")
    parser.add_argument("script", help="a Python file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to the script")
    args = parser.parse_args(argv)
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # otherwise torchrun sets it too, with a warning
    try:
        torchrun.main(["--standalone", f"--nproc-per-node={args.processes}", args.script, *args.arguments])
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
