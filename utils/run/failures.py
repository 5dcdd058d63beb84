"""Turns failures of the machine, such as dead workers and missing memory, into errors of one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from utils.errors import UserError, WorkerError

# torch raises it in the training process wherever that happens to be, while it writes a checkpoint as well
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited)")
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raises WorkerError where a worker died, which may be tried again, and UserError where memory was missing."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if explanation := explain(error):
            raise explanation from error
        raise


def explain(error: BaseException) -> UserError | None:
    """Returns the error of one line for a failure of the machine, None for any other."""
    text = str(error)
    if dead := _DEAD_WORKER.search(text):
        how = f"was ended by the signal {dead[2]!r}" if dead[2] else "ended unexpectedly"
        return WorkerError(
            f"process {dead[1]}, which loads data, {how}: most often memory ran out; lower common.workers or "
            "common.batch_size. Run the same command again: a training goes on from its last checkpoint"
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _NO_MEMORY.search(text):
        reason = next(iter(text.splitlines()), "") or type(error).__name__
        return UserError(f"not enough memory: {reason[:200]}; lower common.batch_size (accumulate makes up for it)")
    return None
