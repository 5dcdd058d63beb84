from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from tests.helpers.requirements import lacking
from utils.files import ROOT
from utils.processes import threads
from utils.processes.threads import limit_threads


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "environ", "number", "text"),
    [
        (2, {}, 2, "2 thread(s), 2 core(s) for this process"),
        (8, {}, 4, "4 thread(s), 8 core(s) for this process"),
        (8, {"SLURM_CPUS_PER_TASK": "3"}, 3, "3 thread(s), SLURM_CPUS_PER_TASK is 3"),
        (2, {"SLURM_CPUS_PER_TASK": "3"}, 2, "2 thread(s), 2 core(s) for this process"),
        (2, {"OMP_NUM_THREADS": "4"}, 4, "4 thread(s), as OMP_NUM_THREADS says"),
    ],
)
def test_a_process_takes_no_more_threads_than_it_has_cores(
    cores: int, environ: dict[str, str], number: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    assert limit_threads(environ) == text
    assert torch.get_num_threads() == number


APART = """
import os
from pathlib import Path
import torch
from utils.processes.threads import keep_apart
allowed = os.sched_getaffinity(0)
torch.set_num_threads({threads})
places = keep_apart()
others = [os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir()]
assert os.sched_getaffinity(0) == allowed  # what it starts from here on may use all of them
right = places and (places.own, places.allowed) == ({{min(allowed)}}, allowed)
print(right, others.count({{max(allowed)}}))
"""


@pytest.mark.whole
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a program choose its cores")
@pytest.mark.parametrize(
    ("threads", "said"), [(2, "True 1"), (1, "None 0"), pytest.param(3, "None 0", marks=pytest.mark.long)]
)
def test_with_one_thread_for_each_core_no_two_share_one(threads: int, said: str) -> None:
    two = sorted(os.sched_getaffinity(0))[:2]
    if len(two) < 2:
        lacking("this needs a machine with two cores")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-c", APART.format(threads=threads)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, two)
    )
    assert done.stdout.strip() == said, done.stderr
