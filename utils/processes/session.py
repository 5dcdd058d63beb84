"""Lets the processes of a run work together: begin, add up, gather, end.

Outside a session, or with one process, every function here does the same for this process alone. launch.py finds out
which process this is, watch.py which one has died.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.files import ROOT
from utils.processes.launch import Rank, detect, expected_world_size
from utils.processes.store import connect
from utils.processes.watch import Watch
from utils.system import interface_of

__all__ = [
    "Rank", "add_up", "barrier", "broadcast_buffers", "expected_world_size", "first_buffers", "gather_objects",
    "rank", "session", "world_size",
]  # fmt: skip

CODE = ("main.py", "methods", "networks", "datasets", "utils")  # what a run consists of
JOIN_SECONDS = 300.0  # time limit for all processes to come; nodes may import Python from slow shared disks
COLLECTIVE_SECONDS = 900.0  # time limit of a collective; rank 0 may validate or write a checkpoint meanwhile


class _Session:
    """The session of this process, if one is open.

    watch: watches the other processes.
    control: a gloo ProcessGroup for what is not a tensor on the device. Any, because torch types it inconsistently.
    """

    watch: Watch | None = None
    control: Any = None


@contextlib.contextmanager
def session(device: str = "auto", *, same: Mapping[str, str] | None = None) -> Iterator[Rank]:
    """Finds out how this process was started, meets the other processes, and leaves them at the end.

    The environment variable DIST_TIMEOUT, in seconds, replaces the two time limits.

    device: auto, cpu, cuda or mps.
    same: texts that must be equal on all processes, with their names in messages (`config`). The code and the versions
        of torch and Python are always compared.
    Raises: LaunchError when the processes cannot meet; RankError, which names the process that runs something
        different, or that fails or dies during the session.
    """
    process = detect(device)
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    if process.world_size == 1:
        yield process
        return
    if dist.is_initialized():
        raise RuntimeError("a session is open already")
    same = {"code": code_digest(), "torch": torch.__version__, "Python": platform.python_version(), **(same or {})}
    watch: Watch | None = None
    try:
        watch = _Session.watch = Watch(process, _seconds(JOIN_SECONDS))
        watch.meet(same)
        _open_groups(process)
        yield process
        barrier()
        _close_groups()
    except BaseException as error:
        at_fault = watch.explain(error, _seconds(COLLECTIVE_SECONDS)) if watch is not None else None
        if at_fault is not None:
            raise at_fault from error
        raise
    finally:
        if watch is not None:
            watch.close()
        _Session.watch = None
        if process.backend == "gloo":  # NCCL's groups would wait for a dead process
            _close_groups()


def _seconds(default: float) -> float:
    return float(os.environ.get("DIST_TIMEOUT") or default)


def code_digest(root: Path = ROOT) -> str:
    """Returns a digest of the Python files of a run. Raises: FileNotFoundError if a place has no files."""
    digest = hashlib.sha256()
    for place in CODE:
        files = [root / place] if place.endswith(".py") else sorted((root / place).rglob("*.py"))
        if not files:  # otherwise ranks would compare nothing with nothing
            raise FileNotFoundError(f"{root / place}: no code here")
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _open_groups(process: Rank) -> None:
    _choose_interface(process)
    delta = datetime.timedelta(seconds=_seconds(COLLECTIVE_SECONDS))
    dist.init_process_group(
        process.backend,
        store=dist.PrefixStore("groups", connect(process, _seconds(JOIN_SECONDS))),
        rank=process.number,
        world_size=process.world_size,
        timeout=delta,
        device_id=process.device if process.backend == "nccl" else None,
    )
    _Session.control = dist.group.WORLD if process.backend == "gloo" else dist.new_group(backend="gloo", timeout=delta)


def _close_groups() -> None:
    if dist.is_initialized():
        # gloo's threads may still release the tensors of the last collective, for which they need the interpreter's
        # lock. Destroying a group holds that lock and waits for them: in torch 2.6 without end
        time.sleep(0.05)
        _Session.control = None
        dist.destroy_process_group()


def _choose_interface(process: Rank) -> None:
    """Tells gloo which network interface leads to rank 0.

    By default gloo takes the address of this host's name, which on many machines is a loopback address or missing.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((process.master, process.port))  # UDP: this sends nothing
        name = interface_of(probe.getsockname()[0])
        if name is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _enter_collective() -> None:
    if _Session.watch is not None:
        _Session.watch.enter()


def rank() -> int:
    """Returns the rank of this process, 0 outside a session."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Returns the number of processes, 1 outside a session."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits until all processes have come here."""
    if world_size() > 1:
        _enter_collective()
        dist.all_reduce(torch.zeros(1), group=_Session.control)


def add_up(numbers: Tensor) -> tuple[Tensor, dist.Work | None]:
    """Starts to add numbers up over all processes, each of which must call this at the same place of its step.

    Returns the sums, in double precision on the same device, and the work: they are valid when it is done.
    """
    if world_size() == 1:
        return numbers, None
    _enter_collective()
    total = numbers.double()
    return total, dist.all_reduce(total, async_op=True)


def gather_objects(value: Any) -> list[Any]:
    """Returns every process's `value`, in the order of ranks, on all. Values are pickled and may differ in size."""
    if world_size() == 1:
        return [value]
    _enter_collective()
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_Session.control)
    return values


@contextlib.contextmanager
def first_buffers(model: nn.Module) -> Iterator[None]:
    """Lends the buffers of rank 0 to all processes; afterwards each has its own again.

    Running statistics of batch norm differ between processes unless they are averaged (bn_sync_stats). Validation uses
    those of rank 0, because the checkpoint holds them.
    """
    if world_size() == 1:
        yield
        return
    own = [buffer.detach().clone() for buffer in model.buffers()]
    broadcast_buffers(model)
    try:
        yield
    finally:
        for buffer, before in zip(model.buffers(), own, strict=True):
            buffer.detach().copy_(before)


def broadcast_buffers(model: nn.Module) -> None:
    """Gives the buffers of rank 0 to all processes, in place."""
    if world_size() == 1:
        return
    _enter_collective()
    for buffer in model.buffers():
        dist.broadcast(buffer.detach(), src=0)
