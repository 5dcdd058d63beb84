from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

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
