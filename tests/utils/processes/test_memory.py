from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.requirements import lacking

SCRIPT = """
import resource, sys
import torch
from utils.processes.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(77)
for step in range(30):
    if step == 24:  # by then the heap has grown to what it needs
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)  # 40 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True)
    if done.returncode == 77:
        lacking("this C library has no mallopt: it is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.long
@pytest.mark.whole
def test_large_memory_is_reused_without_page_faults() -> None:
    assert faults("keep") < 100 < faults("leave")
