"""Decides with how many threads a process computes on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from utils.system import cores


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
