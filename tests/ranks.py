"""Several processes that talk over gloo, for tests: `run_ranks(world_size, function, ...)`."""

from __future__ import annotations

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 60


def run_ranks(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Runs `function(rank, *arguments)` in `world_size` forked processes inside a process group; the results by rank.

    Forking takes 0.1 s where a fresh interpreter with torch takes 3. An exception in a rank fails the test with its
    traceback; nothing waits longer than a minute.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        pipes, processes = [], []
        for rank in range(world_size):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(
                target=_one_rank, args=(rank, world_size, Path(folder) / "meet", send, function, arguments), daemon=True
            )
            process.start()
            send.close()
            pipes.append(receive)
            processes.append(process)
        answers: list[tuple[bool, Any]] = []
        for rank, pipe in enumerate(pipes):
            try:
                answers.append(
                    pipe.recv() if pipe.poll(SECONDS) else (False, f"rank {rank}: nothing within {SECONDS} s")
                )
            except EOFError:
                answers.append((False, f"rank {rank} died without a word"))
        for process in processes:
            process.join(5)
            process.kill()
            process.join()
    failures = [text for good, text in answers if not good]
    assert not failures, "\n".join(map(str, failures))
    return [value for _, value in answers]


def _one_rank(
    rank: int, world_size: int, meet: Path, pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{meet}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=SECONDS / 2),
        )
        value = function(rank, *arguments)
        dist.barrier()
        pipe.send((True, value))
    except BaseException:
        pipe.send((False, f"rank {rank}:\n{traceback.format_exc()}"))
    finally:
        dist.destroy_process_group()
