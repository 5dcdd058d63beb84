"""Runs jobs in worker processes. If a worker dies, in a codec or for lack of memory, the others go on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Job = TypeVar("Job")

# a fork would copy the locks of the threads of OpenCV and FFmpeg in any state
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerDiedError(Exception):
    """Says that the process with this job ended without an answer; the message has its exit code."""


def run_jobs(
    function: Callable[[Job], Any], jobs: Iterable[Job], *, workers: int, started: Callable[[Job], None]
) -> Generator[tuple[Job, Any], None, None]:
    """Yields (job, function(job)) in the order of the answers.

    An answer may be the exception that the function raised, or a WorkerDiedError.

    function: must be importable by name.
    started: is called with each job in this process, before a worker gets the job.
    """
    todo = iter(jobs)
    running: dict[Connection, tuple[BaseProcess, Job]] = {}
    try:
        for _ in range(workers):
            _start(function, todo, running, started=started)
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                process, job = running.pop(pipe)
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    yield job, WorkerDiedError(f"its process died with exit code {process.exitcode}")
                    _start(function, todo, running, started=started)
                    continue
                following = next(todo, None)
                if following is not None:
                    started(following)
                    pipe.send(following)
                    running[pipe] = (process, following)
                else:
                    pipe.close()
                    process.join()
                yield job, answer
    finally:
        for pipe, (process, _) in running.items():
            pipe.close()
            process.terminate()
            process.join()


def run_in_pool(function: Callable[[Job], Any], jobs: Sequence[Job], *, workers: int) -> Iterator[tuple[Job, Any]]:
    """Yields like `run_jobs`, but runs a single job, or all jobs of a single worker, in this process."""
    if workers == 1 or len(jobs) == 1:
        return ((job, function(job)) for job in jobs)
    return run_jobs(function, jobs, workers=workers, started=lambda _: None)


def _start(
    function: Callable[[Job], Any],
    todo: Iterator[Job],
    running: dict[Connection, tuple[BaseProcess, Job]],
    *,
    started: Callable[[Job], None],
) -> None:
    job = next(todo, None)
    if job is None:
        return
    pipe, far_end = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_work, args=(function, far_end), daemon=True)
    process.start()
    far_end.close()
    started(job)
    running[pipe] = (process, job)
    pipe.send(job)


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = function(job)
        except KeyboardInterrupt:
            return
        except Exception as error:
            answer = error
        try:
            pipe.send(answer)
        except (BrokenPipeError, KeyboardInterrupt):  # the main process has ended
            return
