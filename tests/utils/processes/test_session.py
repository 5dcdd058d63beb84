from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.ranks import run_sessions
from utils.errors import UserError
from utils.processes import connection as peer_connection
from utils.processes import monitor, session
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
        raise ValueError("a bug")
    for _ in range(100):
        session.barrier()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [("killed", 1, " has died"), ("user", 2, ": /data: no such folder"), ("bug", 1, ": ValueError: a bug")],
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


def compute_for_ever(process: Rank) -> None:
    if process.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(100)  # in no collective: only the connection to rank 0 can tell


def test_a_process_that_talks_to_nobody_learns_of_a_death_too() -> None:
    results = run_sessions(2, compute_for_ever)
    assert results[0][0] == -signal.SIGKILL
    assert results[1][0] == 1 and results[1][1].endswith("error: rank 0 (127.0.0.1) has died\n")


def stop_still(process: Rank) -> None:
    if process.number == 1:
        subprocess.Popen(["sh", "-c", f"sleep 10; kill -9 {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
    session.barrier()


def test_a_stuck_process_is_named_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "BEAT_SECONDS", 0.5)  # where ranks wait ten seconds, this test would as well
    monkeypatch.setattr(monitor, "SILENT_SECONDS", 3.0)
    code, text = run_sessions(3, stop_still, DIST_TIMEOUT="5")[0]
    assert code == 1
    assert re.search(r"^error: rank 1 \(.*\) has been silent for [4-7] s$", text, re.MULTILINE)


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
    send = peer_connection.Connection.send

    def slow_send(member: peer_connection.Connection, message: dict[str, Any]) -> None:
        if "failed" in message:
            time.sleep(0.3)
        send(member, message)

    monkeypatch.setattr(peer_connection.Connection, "send", slow_send)
    results = run_sessions(3, nothing, same=["lr: 0.1", "lr: 0.1", "lr: 0.2"])
    assert [code for code, _ in results] == [2, 2, 2]
    assert all("differs from rank 0 in config" in text for _, text in results)


def test_different_code_is_an_error_on_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "code_digest", lambda: os.environ["RANK"])
    results = run_sessions(2, nothing)
    assert [code for code, _ in results] == [2, 2]
    assert all("differs from rank 0 in code: '1' where rank 0 has '0'" in text for _, text in results)


@pytest.mark.parametrize("speaks", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_taken_port_is_an_error_on_every_rank(speaks: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "PORT_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        threading.Thread(target=_greet_all, args=(stranger, speaks), daemon=True).start()
        results = run_sessions(2, nothing, MASTER_PORT=str(stranger.getsockname()[1]))
    assert [code for code, _ in results] == [2, 2]
    assert "rank 0 cannot listen on port" in results[0][1] and "set MASTER_PORT to a free port" in results[0][1]
    assert results[1][1].startswith("error: rank 1: 127.0.0.1:") and "set MASTER_PORT" in results[1][1]


def _greet_all(stranger: socket.socket, words: bytes) -> None:
    kept = []
    with contextlib.suppress(OSError):
        while True:
            kept.append(stranger.accept()[0])
            kept[-1].sendall(words)


def test_a_process_that_never_comes_is_named() -> None:
    results = run_sessions(2, nothing, WORLD_SIZE="3", DIST_TIMEOUT="2")
    assert [code for code, _ in results] == [1, 1]
    assert all("rank(s) 2 have not come within 2 s" in text for _, text in results)
