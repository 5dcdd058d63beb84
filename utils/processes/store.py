"""Opens the store in which the processes of a run meet: torch's TCPStore, hosted by rank 0 or by torchrun's agent.

All keys of a run begin with its token, so that neither another run at the same port nor the previous attempt of this
one is taken for it. Rank 0 sets the key OPEN when the others may come.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import threading
import time

import torch.distributed as dist

from utils.errors import LaunchError
from utils.processes.launch import Rank

PORT_SECONDS = 10.0  # how long a taken port may still belong to the previous attempt, which is ending
FIRST_WORD_SECONDS = 0.1  # in which a program that speaks first, such as an SSH server, has said something
OPEN = "open"


def agent_hosts(process: Rank) -> bool:
    """Tells whether torchrun's agent hosts the store; else rank 0 does."""
    return process.launcher == "torchrun" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def host(process: Rank) -> dist.TCPStore:
    """Starts the store in rank 0. Raises: LaunchError when its port stays taken."""
    end = time.monotonic() + PORT_SECONDS
    while True:
        try:
            return dist.TCPStore(process.master, process.port, is_master=True, wait_for_workers=False)
        except RuntimeError as error:
            if time.monotonic() > end:
                why = str(error).splitlines()[0].rpartition("message: ")[2]
                raise LaunchError(
                    f"rank 0 cannot listen on port {process.port} of {process.master} ({why}): set MASTER_PORT to a "
                    "free port"
                ) from None
            time.sleep(0.2)


def connect(process: Rank, timeout: float) -> dist.Store:
    """Connects to the store of this run once more. timeout: seconds that `get` and `wait` may take on it."""
    delta = datetime.timedelta(seconds=timeout)
    store = dist.TCPStore(process.master, process.port, is_master=False, wait_for_workers=False, timeout=delta)
    return dist.PrefixStore(process.token, store)


def find(process: Rank, timeout: float) -> dist.Store:
    """Connects to the store as soon as rank 0 has opened it.

    Raises: LaunchError when another program answers, or nobody within `timeout` seconds.
    """
    where = f"rank {process.number}: {process.master}:{process.port}, where rank 0 should be,"
    end = time.monotonic() + timeout
    stranger_end = end if agent_hosts(process) else None
    while True:
        try:
            store = _try(process, timeout)
        except OSError as error:
            if time.monotonic() > end:
                raise LaunchError(
                    f"{where} does not answer ({error}); if rank 0 is running, set MASTER_PORT to another port"
                ) from None
        else:
            if store is not None:
                return store
            stranger_end = stranger_end or time.monotonic() + PORT_SECONDS
            if time.monotonic() > stranger_end:
                raise LaunchError(f"{where} belongs to another program or another run; set MASTER_PORT to a free port")
        time.sleep(0.1)


def _try(process: Rank, timeout: float) -> dist.Store | None:
    """Returns the open store of this run, None when a stranger has the port. Raises: OSError when nobody listens."""
    with (
        socket.create_connection((process.master, process.port), timeout=PORT_SECONDS / 2) as probe,
        contextlib.suppress(TimeoutError, ConnectionError),
    ):
        probe.settimeout(FIRST_WORD_SECONDS)
        probe.recv(1)
        return None  # a store waits until it is spoken to
    found: list[dist.Store] = []

    def look() -> None:
        with contextlib.suppress(RuntimeError):
            store = connect(process, timeout)
            if store.check([OPEN]):
                found.append(store)

    # TCPStore waits without end for the answer of a program that says nothing
    looking = threading.Thread(target=look, name="looks for the store", daemon=True)
    looking.start()
    looking.join(PORT_SECONDS / 2)
    return found[0] if found else None
