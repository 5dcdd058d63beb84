"""Finds out how this process was started: by torchrun, by Slurm, or alone. `detect` decides it.

What the processes then do together is in utils/processes/session.py.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from utils.errors import ConfigError, LaunchError
from utils.system import SEVERAL_PROCESSES

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
ATTEMPT = {  # the variables that name a run and its attempt
    "torchrun": ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    "slurm": ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
}
SLURM_FIRST_PORT = 29500
DASHED_ADDRESS = re.compile(r"(?:^|-)(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})$")


@dataclass(frozen=True)
class Rank:
    """One process of a run.

    number: its rank, 0 to world_size - 1.
    world_size: the number of processes.
    local_rank: its rank among the processes of its host.
    launcher: torchrun, slurm or python.
    master: the host where the processes meet, "" for a single process.
    port: the port where they meet, 0 for a single process.
    device: the device it trains on.
    backend: the backend of torch.distributed, "" for a single process.
    token: a text that no other run, and no other attempt of this run, has on these hosts.
    """

    number: int
    world_size: int
    local_rank: int
    launcher: str
    master: str
    port: int
    device: torch.device
    backend: str
    token: str

    @property
    def is_first(self) -> bool:
        """True for the process that logs and writes."""
        return self.number == 0

    def __str__(self) -> str:
        if self.world_size == 1:
            return f"{self.launcher}: one process on {self.device}"
        return (
            f"{self.launcher}: rank {self.number} of {self.world_size} on {self.device}, meeting at "
            f"{self.master}:{self.port} over {self.backend}"
        )


def detect(device: str = "auto", *, environ: Mapping[str, str] = os.environ) -> Rank:
    """Reads torchrun's variables, otherwise Slurm's; without either there is one process.

    device: auto (CUDA where there is a GPU), cpu, cuda or mps.
    Raises: LaunchError when some of a launcher's variables are missing or wrong, or rank 0's host does not resolve;
        ConfigError when the device is not available.
    """
    if any(name in environ for name in TORCHRUN):
        return _read("torchrun", TORCHRUN, device, environ)
    if "SLURM_PROCID" in environ and not _is_batch_script(environ):
        size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
        return _read("slurm", ("SLURM_PROCID", size, "SLURM_LOCALID"), device, environ)
    return Rank(0, 1, 0, "python", "", 0, choose_device(device, local_rank=0, world_size=1), "", "")


def launch_id(environ: Mapping[str, str] = os.environ) -> str:
    """Returns what all attempts of one launch have in common, and no other launch has; "" where there is one attempt.

    tools/launch.sh names its launches itself. torchrun's agent starts its processes again as their parent; a job that
    Slurm requeues keeps its number, and its steps are counted anew.
    """
    if environ.get("LAUNCH_ID"):
        return environ["LAUNCH_ID"]
    if "TORCHELASTIC_RUN_ID" in environ:
        return f"torchrun {environ['TORCHELASTIC_RUN_ID']} {socket.gethostname()} {os.getppid()}"
    if "SLURM_PROCID" in environ and not _is_batch_script(environ):
        return f"slurm {environ.get('SLURM_JOB_ID', '0')} {environ.get('SLURM_STEP_ID', '')}"
    return ""


def expected_world_size(environ: Mapping[str, str] = os.environ) -> int:
    """Returns the number of processes of a run that is started like this one."""
    return detect("cpu", environ=environ).world_size


def _is_batch_script(environ: Mapping[str, str]) -> bool:
    # the shell of sbatch has the variables of task 0, but only tasks of srun belong to a step
    return "SLURM_TASK_PID" in environ and not {"SLURM_STEP_ID", "SLURM_STEPID"} & environ.keys()


def _read(launcher: str, names: tuple[str, str, str], device: str, environ: Mapping[str, str]) -> Rank:
    """Reads a launcher's variables. names: those of the rank, the number of processes, the rank on its host."""
    number, world_size, local_rank = (_number(name, environ) for name in names)
    if not 0 <= number < world_size:
        raise LaunchError(f"{names[0]}={number} must be from 0 to {names[1]}-1, but {names[1]} is {world_size}")
    master, port = "", 0
    if launcher == "torchrun":
        master, port = _text("MASTER_ADDR", environ), _number("MASTER_PORT", environ)
    elif world_size > 1:  # Slurm leaves it to its tasks where they meet
        master = environ.get("MASTER_ADDR") or _slurm_master(environ)
        jobs_own = SLURM_FIRST_PORT + _number("SLURM_JOB_ID", environ) % 1000
        port = _number("MASTER_PORT", environ) if environ.get("MASTER_PORT") else jobs_own
    token = " ".join([launcher, *(environ.get(name, "") for name in ATTEMPT[launcher])])
    chosen = choose_device(device, local_rank=local_rank, world_size=world_size)
    if world_size == 1:
        return Rank(number, 1, local_rank, launcher, "", 0, chosen, "", token)
    if not SEVERAL_PROCESSES:
        raise LaunchError(f"{launcher}: several processes train together on Linux and macOS only; start main.py alone")
    if not _resolves(master):  # gloo and NCCL would wait for many minutes
        raise LaunchError(
            f"rank {number}: the host name {master!r} of rank 0 cannot be resolved; set MASTER_ADDR to its address"
        )
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    return Rank(number, world_size, local_rank, launcher, master, port, chosen, backend, token)


def _text(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if not value:
        owner = "Slurm" if name.startswith("SLURM") else "torchrun"
        raise LaunchError(f"only some of {owner}'s variables are set: {name} is missing; set it, or unset the others")
    return value


def _number(name: str, environ: Mapping[str, str]) -> int:
    value = _text(name, environ)
    try:
        return int(value)
    except ValueError:
        raise LaunchError(f"{name}={value!r} is not a number") from None


def _slurm_master(environ: Mapping[str, str]) -> str:
    """Returns the address of the step's first node: Slurm's own, or its name, or the address inside its name."""
    lists = [environ[name] for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST") if environ.get(name)]
    if not lists:
        raise LaunchError(
            "only some of Slurm's variables are set: SLURM_JOB_NODELIST is missing; set it or MASTER_ADDR"
        )
    first = first_host(lists[0])
    known = re.search(r"NodeAddr=(\S+)", _scontrol("show", "node", "-o", first))
    candidates = [known[1] if known else "", first, dashed_address(first)]
    return next((address for address in candidates if address and _resolves(address)), first)


def first_host(nodes: str) -> str:
    """Returns the first name of a Slurm list such as `gpu[03-05],login`."""
    expanded = _scontrol("show", "hostnames", nodes).split()
    if expanded:
        return expanded[0]
    # inside a container without scontrol; only the first name is needed
    match = re.match(r"([^,\[]*)(?:\[([^\],-]+))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes


def dashed_address(name: str) -> str:
    """Returns 10.5.36.103 for SH-IDC1-10-5-36-103, and "" for names without an address."""
    match = DASHED_ADDRESS.search(name)
    return ".".join(match.groups()) if match else ""


def _scontrol(*arguments: str) -> str:
    try:
        return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def choose_device(device: str, *, local_rank: int, world_size: int) -> torch.device:
    """Returns the device of a process; the processes of a node get its GPUs in order.

    Raises: ConfigError when the device is not available, or the node has fewer GPUs than processes.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("common.device: cuda, but PyTorch finds no GPU here; use auto or cpu")
        count = torch.cuda.device_count()
        # Slurm may bind one GPU to each task: every task then sees one GPU, with index 0
        index = 0 if count == 1 and "SLURM_STEP_GPUS" in os.environ else local_rank
        if index >= count:
            raise ConfigError(
                f"common.device: process {local_rank} of this node has no GPU of its own; PyTorch finds {count} here"
            )
        return torch.device("cuda", index)
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("common.device: mps, but PyTorch finds no Apple GPU here; use auto or cpu")
        if world_size > 1:
            raise ConfigError("common.device: mps works with one process only; use cpu")
    return torch.device(device)
