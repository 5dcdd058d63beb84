from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing.util
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.helpers.ranks import run_sessions
from utils.errors import UserError
from utils.processes import launch, session, store, watch
from utils.processes.launch import Rank
from utils.training.batch import Sums

pytestmark = pytest.mark.gloo


def test_alone_every_function_does_the_obvious() -> None:
    with session.session("cpu") as process:
        assert process.is_first and process.world_size == session.world_size() == 1
        assert session.gather_objects("x") == ["x"]
        assert session.add_up(numbers := torch.tensor([1.0, 2.0])) == (numbers, None)
        session.barrier()
        session.broadcast_buffers(nn.BatchNorm1d(3))


def agree(process: Rank) -> None:
    rank = process.number
    assert session.rank() == rank
    assert session.gather_objects("x" * rank) == ["x" * other for other in range(process.world_size)]
    numbers = torch.tensor([1.0, 2.0**24 + 2 * rank])  # an odd sum would not fit into single precision
    added = Sums(numbers, *session.add_up(numbers))
    total = sum(2.0**24 + 2 * other for other in range(process.world_size))
    assert added.values() == [process.world_size, total] and added.own() == [1.0, 2.0**24 + 2 * rank]
    net = nn.BatchNorm1d(3)
    net.running_mean.fill_(rank + 1)
    session.broadcast_buffers(net)
    assert net.running_mean.tolist() == [1, 1, 1]
    net.running_mean.fill_(rank)
    with session.first_buffers(net):
        assert net.running_mean.tolist() == [0, 0, 0]
    assert net.running_mean.tolist() == [rank] * 3


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_agree(world_size: int) -> None:
    assert run_sessions(world_size, agree) == [(0, "")] * world_size


def fail(process: Rank, kind: str) -> None:
    if process.number == 1:
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "user":
            raise UserError("/data: no such folder")
        if kind == "torch":
            raise RuntimeError("shapes do not fit\nframe #0")
        raise ValueError("a bug")
    for _ in range(100):
        session.barrier()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("killed", 1, " has died"),
        ("user", 2, ": /data: no such folder"),
        ("bug", 1, ": ValueError: a bug"),
        ("torch", 1, ": RuntimeError: shapes do not fit"),
    ],
)
def test_when_one_process_fails_the_others_end_with_its_name(kind: str, code: int, message: str) -> None:
    began = time.monotonic()
    results = run_sessions(3, fail, kind)
    assert time.monotonic() - began < 15
    for rank in (0, 2):
        assert results[rank][0] == code
        lines = [line for line in results[rank][1].splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and lines[0].startswith("error: rank 1 (") and lines[0].endswith(message)
        assert "Traceback" not in results[rank][1]


def compute_for_ever(process: Rank, victim: int) -> None:
    if process.number == victim:
        worker_that_outlives_its_parent()
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(20)  # in no collective: only the line to rank 0 can tell
    raise ValueError("nothing was heard")


def worker_that_outlives_its_parent() -> None:
    """Forks a process that goes on for a moment, as a loader's worker does, with all that it has inherited."""
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.05)
        time.sleep(2)
        os._exit(0)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_talks_to_nobody_learns_of_a_death_too(victim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.2)
    results = run_sessions(2, compute_for_ever, victim)
    assert results[victim] == (-signal.SIGKILL, "")
    code, text = results[1 - victim]
    # torch says so in many lines of its own where the store, which rank 0 has, breaks in the middle of an answer
    torchs = r"(?:\[rank1\]:\[W[^\n]*TCPStore.*\n)?" if victim == 0 else ""
    assert code == 1 and re.fullmatch(rf"{torchs}error: rank {victim} \([^\n]*, process \d+\) has died\n", text, re.S)


def stand_still(process: Rank, victim: int, how: str) -> None:
    victims_id = session.gather_objects(os.getpid())[victim]
    if process.number == victim:
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        threading.Event().wait(100)
    multiprocessing.util.Finalize(None, os.kill, (victims_id, signal.SIGKILL), exitpriority=0)  # when this one ends
    session.barrier()


@pytest.mark.parametrize(
    ("victim", "how", "named"),
    [
        (1, "stopped", r"has been silent for \S+ s"),
        (0, "stopped", r"has been silent for \S+ s"),  # and the store with it
        (1, "slow", "has not come to where the others wait for it"),
    ],
)
def test_a_stuck_process_is_named_after_the_timeout(
    victim: int, how: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COLLECTIVE_SECONDS", 1.0)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.8)
    monkeypatch.setattr(watch, "NEWS_SECONDS", 0.5)
    code, text = run_sessions(2, stand_still, victim, how, DIST_TIMEOUT="")[1 - victim]
    assert code == 1
    assert re.search(rf"^error: rank {victim} \(.*\) {named}$", text, re.MULTILINE)


def wait_for_each_other(process: Rank) -> None:
    dist.recv(torch.zeros(1), src=1 - process.number)  # which nobody sends


@pytest.mark.long
def test_when_nobody_is_at_fault_for_a_timeout_the_error_is_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "COLLECTIVE_SECONDS", 1.0)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.8)
    results = run_sessions(2, wait_for_each_other, DIST_TIMEOUT="")
    assert [code for code, _ in results] == [1, 1]
    named = [re.search(r"^error: rank \d \(.*\): RuntimeError: ", text, re.MULTILINE) for _, text in results]
    assert sum(map(bool, named)) == 1  # the other one has the traceback
    assert not any("silent" in text or "has not come" in text for _, text in results)


def fail_late(process: Rank) -> None:
    session.barrier()
    if process.number == 1:
        time.sleep(0.96)  # between 0.9 of the timeout and the timeout
        raise RuntimeError("out of memory")
    session.barrier()


def test_an_error_of_ones_own_shortly_before_the_timeout_of_the_others_is_what_they_hear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "COLLECTIVE_SECONDS", 1.0)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.8)
    results = run_sessions(2, fail_late, DIST_TIMEOUT="")
    assert re.search(r"^error: rank 1 \(.*\): RuntimeError: out of memory$", results[0][1], re.MULTILINE)
    assert "has not come" not in results[1][1] and "out of memory" in results[1][1]


def keep_pythons_lock(process: Rank) -> None:
    if process.number == 1:
        ctypes.PyDLL(None).usleep(1_000_000)
    session.barrier()


def test_a_process_that_answers_nothing_for_long_is_not_called_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.2)
    assert run_sessions(2, keep_pythons_lock) == [(0, ""), (0, "")]


def nothing(process: Rank) -> None:
    pass


def test_a_different_config_is_an_error_on_every_rank() -> None:
    results = run_sessions(3, nothing, same=["lr: 0.1 wd: 0"] * 2 + ["lr: 0.2 wd: 0"])
    for code, text in results:
        assert code == 2
        assert re.fullmatch(
            r"error: rank 2 \(.*\) differs from rank 0 in config: 'lr: 0.2 wd: 0' where rank 0 has 'lr: 0.1 wd: 0'\n",
            text,
        )


def test_rank_0_ends_only_when_everybody_knows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = watch.Watch._exchange

    def slow_exchange(member: watch.Watch) -> watch.News | None:
        time.sleep(0.7 if member.process.number == 1 else 0)
        return exchange(member)

    monkeypatch.setattr(watch.Watch, "_exchange", slow_exchange)
    results = run_sessions(3, nothing, same=["lr: 0.1", "lr: 0.1", "lr: 0.2"])
    assert [code for code, _ in results] == [2, 2, 2]
    assert all("differs from rank 0 in config" in text for _, text in results)


def test_a_process_that_comes_late_learns_why_the_others_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "code_digest", lambda: time.sleep(0.7 if os.environ["RANK"] == "1" else 0) or "same")
    results = run_sessions(3, nothing, same=["lr: 0.1", "lr: 0.1", "lr: 0.2"])
    assert [code for code, _ in results] == [2, 2, 2]
    assert all("rank 2 (" in text and "differs from rank 0 in config" in text for _, text in results)


def test_two_processes_with_the_same_rank_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    detect = launch.detect
    monkeypatch.setattr(session, "detect", lambda device: dataclasses.replace(detect(device), number=min(rank_of(), 1)))
    results = run_sessions(3, nothing)
    assert [code for code, _ in results] == [1, 1, 1]
    named = r"error: rank 1 \(.*, process \d+\) and rank 1 \(.*, process \d+\) have the same rank\n"
    assert all(re.fullmatch(named, text) for _, text in results)


def rank_of() -> int:
    return int(os.environ["RANK"])


def test_different_code_is_an_error_on_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "code_digest", lambda: os.environ["RANK"])
    results = run_sessions(2, nothing)
    assert [code for code, _ in results] == [2, 2]
    assert all("differs from rank 0 in code: '1' where rank 0 has '0'" in text for _, text in results)


@pytest.mark.parametrize("speaks", ["nothing", "SSH-2.0-OpenSSH_9.2\r\n", "a store"])
def test_a_taken_port_is_an_error_on_every_rank(speaks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PORT_SECONDS", 0.6)
    with stranger(speaks) as port:
        results = run_sessions(2, nothing, MASTER_PORT=str(port))
    assert [code for code, _ in results] == [2, 2]
    assert results[0][1] == (
        f"error: rank 0 cannot listen on port {port} of 127.0.0.1 (address already in use): set MASTER_PORT to a free "
        "port\n"
    )
    assert results[1][1] == (
        f"error: rank 1: 127.0.0.1:{port}, where rank 0 should be, belongs to another program or another run; set "
        "MASTER_PORT to a free port\n"
    )


@contextlib.contextmanager
def stranger(speaks: str) -> Iterator[int]:
    """Has a port as another program, or as another run, until the end; the port."""
    if speaks == "a store":
        other = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        other.set(f"another token/{store.OPEN}", "")
        yield other.port
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_greet_all, args=(server, speaks.encode()), daemon=True).start()
        yield server.getsockname()[1]


def _greet_all(server: socket.socket, words: bytes) -> None:
    with contextlib.ExitStack() as kept, contextlib.suppress(OSError):
        while True:
            connection = kept.enter_context(server.accept()[0])
            connection.sendall(words if words != b"nothing" else b"")


def test_a_process_that_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "NEWS_SECONDS", 0.5)
    results = run_sessions(2, nothing, WORLD_SIZE="3", DIST_TIMEOUT="1")
    assert [code for code, _ in results] == [1, 1]
    assert all("rank(s) 2 have not come within 1 s" in text for _, text in results)
