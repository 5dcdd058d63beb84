"""Decides with how many threads a process computes on the CPU, and on which cores."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from typing import NamedTuple

import torch

from utils.system import TASKS, cores

EACH = 2**16  # elements of a sum that occupy one thread of torch


class Places(NamedTuple):
    """Names the cores for the main thread: its own while it computes, and those that it may use otherwise."""

    own: set[int]
    allowed: set[int]


def limit_threads(environ: Mapping[str, str] = os.environ) -> str:
    """Gives torch at most as many threads as this process has cores, and returns how many it has and why.

    torch counts the cores of the machine; a container or a Slurm task may use fewer. OMP_NUM_THREADS decides if it is
    set, as torchrun does for several processes on a node.
    """
    if environ.get("OMP_NUM_THREADS"):
        return f"{torch.get_num_threads()} thread(s), as OMP_NUM_THREADS says"
    allowed, why = cores(), f"{cores()} core(s) for this process"
    given = environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isdigit() and 0 < int(given) < allowed:
        allowed, why = int(given), f"SLURM_CPUS_PER_TASK is {given}"
    if allowed < torch.get_num_threads():
        torch.set_num_threads(allowed)
    return f"{torch.get_num_threads()} thread(s), {why}"


@functools.cache
def keep_apart() -> Places | None:
    """Gives each thread of torch but the main one a core of its own, if there is one core for each of them.

    oneDNN's threads spin where they add up the gradients of a convolution. If another program works on one core, the
    system may put two of them on the other one, and each spins for its whole turn while it waits for the other: a
    step took 16 s in place of 0.9. The main thread must not keep its core, because processes and threads that it
    starts would inherit it: `Places` says where to put it while it computes.

    Returns None where torch has other threads than there are cores, or where this is not Linux. Call it before torch
    computes anything in this process: it finds torch's threads by letting them start.
    """
    if not TASKS.is_dir() or not hasattr(os, "sched_setaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    before = _threads()
    torch.ones(EACH * torch.get_num_threads()).add_(1)
    others = sorted(_threads() - before)
    if not others or len(others) + 1 != len(allowed) or cores() != len(allowed):
        return None
    first, *rest = sorted(allowed)
    for thread, core in zip(others, rest, strict=True):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setaffinity(thread, {core})
    return Places({first}, allowed)


def _threads() -> set[int]:
    return {int(path.name) for path in TASKS.iterdir()}
