from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from tools.dumping import pool
from tools.dumping.pool import WorkerDiedError, run_jobs


@pytest.fixture(autouse=True)
def _fresh_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a command; tests/conftest.py forks the workers of all other tests."""
    monkeypatch.setattr(pool, "_CONTEXT", multiprocessing.get_context("spawn"))


def act(job: int) -> int:
    """Squares a number; 3 fails, 5 crashes, 7 is killed."""
    if job == 3:
        raise ValueError("three")
    if job == 5:
        os._exit(9)
    if job == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return job * job


@pytest.mark.whole
def test_every_job_is_answered_though_workers_die() -> None:
    started: list[int] = []
    answers = dict(run_jobs(act, range(10), workers=2, started=started.append))
    assert sorted(answers) == started == list(range(10))
    assert {job: answer for job, answer in answers.items() if isinstance(answer, int)} == {
        job: job * job for job in range(10) if job not in (3, 5, 7)
    }
    assert isinstance(answers[3], ValueError) and str(answers[3]) == "three"
    assert isinstance(answers[5], WorkerDiedError) and "exit code 9" in str(answers[5])
    assert isinstance(answers[7], WorkerDiedError) and "exit code -9" in str(answers[7])


def test_no_jobs_need_no_workers() -> None:
    assert list(run_jobs(act, [], workers=2, started=lambda job: None)) == []


def sleep(job: int) -> int:
    time.sleep(60)
    return job


def test_leaving_early_ends_the_workers() -> None:
    jobs = run_jobs(lambda_free_identity, range(3), workers=1, started=lambda job: None)
    assert next(jobs) == (0, 0)
    begin = time.monotonic()
    jobs.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 20


def lambda_free_identity(job: int) -> int:
    return job if job == 0 else sleep(job)
