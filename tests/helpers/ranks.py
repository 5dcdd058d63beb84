"""Several processes that talk over gloo, for tests: `run_ranks(world_size, function, ...)`."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from utils.cli import run_cli
from utils.processes import session

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


def run_sessions(
    world_size: int, function: Callable[..., Any], *arguments: Any, same: Sequence[str] = (), **environ: str
) -> list[tuple[int, str]]:
    """Runs `function(process, *arguments)` in a `session.session` of forked processes, started as torchrun would.

    same: each rank's config. environ: changes to the environment.
    Returns each rank's exit code (negative: a signal) and what it wrote to stderr.
    """
    context = multiprocessing.get_context("fork")
    port = str(free_port())
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for rank in range(world_size):
            variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "DIST_TIMEOUT": "20"} | environ
            config = same[rank] if same else ""
            process = context.Process(
                target=_one_session,
                args=(variables, config, Path(folder) / str(rank), function, arguments),
                daemon=True,
            )
            process.start()
            processes.append(process)
        results = []
        for rank, process in enumerate(processes):
            process.join(SECONDS)
            alive = process.is_alive()
            process.kill()
            process.join()
            text = (Path(folder) / str(rank)).read_text()
            assert not alive, f"rank {rank} still runs after {SECONDS} s\n{text}"
            results.append((process.exitcode, text))
    return results


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _one_session(
    variables: dict[str, str], config: str, output: Path, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ.update(variables)
    handle = os.open(output, os.O_CREAT | os.O_WRONLY)
    os.dup2(handle, 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)

    def main(argv: Any) -> int | None:
        with session.session("cpu", same={"config": config}) as process:
            return function(process, *arguments)

    run_cli(main)
