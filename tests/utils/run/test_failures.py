from __future__ import annotations

import pytest
import torch

from utils.errors import UserError, WorkerError
from utils.run.failures import explained

KILLED = "DataLoader worker (pid 77) is killed by signal: Killed. "
BUS = (
    "DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that dataloader's workers are out of shm"
)


@pytest.mark.parametrize(
    ("text", "how"),
    [(KILLED, "'Killed'"), (BUS, "'Bus error'"), ("DataLoader worker (pid(s) 77) exited unexpectedly", "unexpectedly")],
)
def test_a_dead_worker_is_one_line_and_is_tried_again(text: str, how: str) -> None:
    with (
        pytest.raises(
            WorkerError, match=rf"^process 77, which loads data, .*{how}: most often memory ran out"
        ) as error,
        explained(),
    ):
        raise RuntimeError(text)
    assert error.value.exit_code == 1  # tools/launch.sh does not try 2 again


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9.0 TiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_missing_memory_is_one_line_that_says_what_to_lower(error: Exception) -> None:
    with pytest.raises(UserError, match=r"^not enough memory: .*lower common.batch_size") as found, explained():
        raise error
    assert found.value.exit_code == 2


def test_any_other_failure_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), explained():
        raise RuntimeError("shapes differ")
