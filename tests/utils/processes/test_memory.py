from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.requirements import lacking

REUSE = """
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

HOLES = """
import re, sys
import torch
from pathlib import Path
from utils.processes.memory import return_freed_memory
if sys.argv[1] == "return" and not return_freed_memory():
    sys.exit(77)
torch.ones(8_000_000)  # 32 MB: when it is freed, glibc takes pieces of this size from the heap
pairs = [(torch.ones(2_500_000), torch.ones(250_000)) for _ in range(30)]  # 10 MB and 1 MB by turns
kept = [small for _, small in pairs]
del pairs
print(int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)  # without mapped files
"""


def number_of(script: str, mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", script, mode], capture_output=True, text=True)
    if done.returncode == 77:
        lacking("this C library has no mallopt: it is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.long
@pytest.mark.whole
def test_large_memory_is_reused_without_page_faults() -> None:
    assert number_of(REUSE, "keep") < 100 < number_of(REUSE, "leave")


@pytest.mark.long
def test_memory_that_is_freed_between_pieces_that_stay_is_returned() -> None:
    assert number_of(HOLES, "return") + 100 < number_of(HOLES, "leave")
