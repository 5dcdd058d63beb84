"""What the processes of a run do together: begin, agree, reduce, gather, end.

Outside a session, or with one process, every function here does the obvious thing alone. Which process this is:
launch.py. Who has died: peers.py.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from utils.errors import RankError, UserError
from utils.files import ROOT
from utils.processes.gradients import average_in_rank_order
from utils.processes.launch import Rank, detect, expected_world_size
from utils.processes.monitor import Client, RankMonitor, Server
from utils.system import interface_of

__all__ = [
    "Rank", "any_rank", "average_gradients", "barrier", "expected_world_size", "first_buffers", "gather_objects",
    "rank", "session", "sum_over_ranks", "world_size", "wrap",
]  # fmt: skip

CODE = ("main.py", "methods", "networks", "datasets", "utils")
JOIN_SECONDS = 300.0  # until all processes have come; nodes import Python from slow shared disks
COLLECTIVE_SECONDS = 900.0  # a collective in which a process is stuck; validation and checkpoints must fit in
P = ParamSpec("P")
R = TypeVar("R")


class _Session:
    """The one session of this process: its peers, and a gloo group for what is not tensors on the device."""

    peers: RankMonitor | None = None
    control: Any = None  # a ProcessGroup; torch types what makes one as more than that


@contextlib.contextmanager
def session(device: str = "auto", *, same: Mapping[str, str] | None = None) -> Iterator[Rank]:
    """Finds out how this process was started, meets the others, and parts from them at the end.

    device: auto, cpu, cuda or mps.
    same: texts that must be equal on all processes, by what they are (`config`); code and torch's version always are.
    DIST_TIMEOUT, an environment variable in seconds, shortens the two waits for others.
    Raises: LaunchError when the processes cannot meet; RankError naming the process that runs something else, or that
        fails or dies while the session lasts.
    """
    process = detect(device)
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    if process.world_size == 1:
        yield process
        return
    if dist.is_initialized():
        raise RuntimeError("a session is open already")
    same = {"code": _code_digest(), "torch": torch.__version__, "Python": platform.python_version(), **(same or {})}
    peers: RankMonitor | None = None
    try:
        peers, store = _meet(process, same)
        _Session.peers = peers
        _open_groups(process, store)
        yield process
        barrier()
    except BaseException as error:
        blamed = _part_after(error, peers)
        if blamed is not None and blamed is not error:
            raise blamed from error
        raise
    else:
        _close_groups()
        peers.close()
    finally:
        _Session.peers = None
        if process.backend == "gloo":  # NCCL's groups would wait for a dead process
            _close_groups()


def _seconds(default: float) -> float:
    return float(os.environ.get("DIST_TIMEOUT") or default)


def _code_digest() -> str:
    digest = hashlib.sha256()
    for place in CODE:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _meet(process: Rank, same: Mapping[str, str]) -> tuple[RankMonitor, dist.Store]:
    """Waits for everybody, sees that all run the same, and returns the store through which groups are made."""
    timeout = _seconds(JOIN_SECONDS)
    agent = _agent_store(
        process, timeout
    )  # where torchrun holds the meeting port, our own port is told through its store
    if process.number == 0:
        store = agent or _own_store(process, 0, timeout)
        server = Server(
            process, port=0 if agent else process.port, same=same, timeout=timeout, welcome={"store_port": store.port}
        )
        if agent:
            agent.set(f"peers {process.token}", str(server.port))
        server.wait()
        return server, store
    port = int(agent.get(f"peers {process.token}")) if agent else process.port
    client = Client(process, port=port, same=same, timeout=timeout)
    client.wait()
    return client, agent or _own_store(process, int(client.welcome["store_port"]), timeout)


def _agent_store(process: Rank, timeout: float) -> dist.TCPStore | None:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or process.launcher != "torchrun":
        return None
    return dist.TCPStore(process.master, process.port, is_master=False, timeout=datetime.timedelta(seconds=timeout))


def _own_store(process: Rank, port: int, timeout: float) -> dist.TCPStore:
    delta = datetime.timedelta(seconds=timeout)
    return dist.TCPStore(process.master, port, is_master=process.is_first, timeout=delta, wait_for_workers=False)


def _open_groups(process: Rank, store: dist.Store) -> None:
    _choose_interface(process)
    delta = datetime.timedelta(seconds=_seconds(COLLECTIVE_SECONDS))
    dist.init_process_group(
        process.backend,
        store=dist.PrefixStore(f"groups {process.token}", store),
        rank=process.number,
        world_size=process.world_size,
        timeout=delta,
        device_id=process.device if process.backend == "nccl" else None,
    )
    _Session.control = dist.group.WORLD if process.backend == "gloo" else dist.new_group(backend="gloo", timeout=delta)


def _close_groups() -> None:
    if dist.is_initialized():
        # gloo's threads still let go of the last collective's tensors, which takes the interpreter's lock; destroying a
        # group holds it and waits for them (torch 2.6 for ever)
        time.sleep(0.05)
        _Session.control = None
        dist.destroy_process_group()


def _choose_interface(process: Rank) -> None:
    """Tells gloo the network interface that leads to rank 0.

    Left alone it takes the address of this host's own name, which on many machines is a loopback address or nothing.
    """
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return
    with contextlib.suppress(OSError):
        family = socket.getaddrinfo(process.master, None, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            if family != socket.AF_INET:
                return
            probe.connect((process.master, process.port))  # UDP: nothing is sent
            name = interface_of(probe.getsockname()[0])
            if name is not None:
                os.environ["GLOO_SOCKET_IFNAME"] = name


def _part_after(error: BaseException, peers: RankMonitor | None) -> RankError | None:
    """Tells the others why this process ends; returns who else is at fault, if anybody is."""
    if isinstance(error, RankError) or peers is None:
        return None
    if isinstance(error, RuntimeError):  # a collective's own error knows neither who nor why
        blamed = peers.blame()
        if blamed is not None:
            return blamed
    if isinstance(error, UserError):
        peers.report(str(error), error.exit_code)
    elif isinstance(error, KeyboardInterrupt):
        peers.report("interrupted", 130)
    else:
        peers.report(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", 1)
    return None


def _named(function: Callable[P, R]) -> Callable[P, R]:
    """A failed collective raises RankError with the name of the process that failed, where that can be known."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        peers = _Session.peers
        if peers is None:
            return function(*args, **kwargs)
        peers.progress += 1
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            blamed = peers.blame()
            if blamed is None:
                raise
            raise blamed from error

    return wrapper


def _alone() -> bool:
    return not dist.is_initialized() or dist.get_world_size() == 1


def rank() -> int:
    """This process's place, 0 outside a session."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes, 1 outside a session."""
    return dist.get_world_size() if dist.is_initialized() else 1


@_named
def barrier() -> None:
    """Waits for everybody."""
    if not _alone():
        any_rank(False)


@_named
def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on at least one process; the same answer on all."""
    if _alone():
        return flag
    votes = torch.tensor([int(flag)])
    dist.all_reduce(votes, dist.ReduceOp.MAX, group=_Session.control)
    return bool(votes.item())


@_named
def sum_over_ranks(values: Sequence[float]) -> list[float]:
    """The sums of a few numbers over all processes, in double precision; the same on everybody."""
    if _alone():
        return list(values)
    numbers = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(numbers, group=_Session.control)
    return [float(number) for number in numbers]


@_named
def gather_objects(value: Any) -> list[Any]:
    """Everybody's `value`, in the order of ranks, on everybody; values may differ in size. They travel pickled."""
    if _alone():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_Session.control)
    return values


@_named
def average_gradients(model: nn.Module) -> None:
    """Replaces every gradient by its mean over all processes, summed in the order of ranks (see gradients.py)."""
    if not _alone():
        average_in_rank_order(model, agree=gather_objects)


@_named
def wrap(model: nn.Module, process: Rank) -> nn.Module:
    """Gives everybody rank 0's parameters and buffers, and returns the model, ready to train."""
    if not _alone():
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor.detach(), src=0)
    return model


@contextlib.contextmanager
def first_buffers(model: nn.Module) -> Iterator[None]:
    """Inside, everybody has rank 0's buffers; afterwards its own again.

    Running statistics of batch norm differ between processes unless they are averaged (bn_sync_stats). Validated is
    what the checkpoint holds, and that is rank 0's.
    """
    if _alone():
        yield
        return
    own = [buffer.detach().clone() for buffer in model.buffers()]
    _broadcast_buffers(model)
    try:
        yield
    finally:
        for buffer, before in zip(model.buffers(), own, strict=True):
            buffer.detach().copy_(before)


@_named
def _broadcast_buffers(model: nn.Module) -> None:
    for buffer in model.buffers():
        dist.broadcast(buffer.detach(), src=0)
