"""A real Slurm of two nodes on this host, in a folder of its own, for as long as a test needs it.

munged, slurmctld and one slurmd per node, as root, on loopback, without cgroups, systemd or a database. The nodes' GPUs
are links to /dev/null: Slurm counts and hands them out, CUDA does not see them.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.requirements import needs_program, needs_root

GPU_PARTITION = "VI_SP_VA_1080TI"
LOW_PARTITION = "VI_Preempt"
CPU_PARTITION = "cpu"
NODES = (
    "SH-IDC1-127-0-0-1",
    "SH-IDC1-127-0-0-2",
)  # the last four parts are the address, as the seed's cluster names them
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "scontrol", "sinfo", "scancel")

needs_slurm = needs_program(*PROGRAMS, install="apt-get install slurm-wlm munge")
slurm_test = [pytest.mark.slurm, needs_slurm, needs_root]

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port1}
SrunPortRange={srun_first}-{srun_last}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge/sock,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
PlugStackConfig={root}/plugstack.conf
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=5
"""


class Cluster:
    """Two nodes of 32 CPUs and 8 GPUs, and one without GPUs.

    environment: what commands need to find this cluster; `run` passes it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))
        } | {"SLURM_CONF": str(root / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts the daemons and waits until every node is idle."""
        for name in ("state", "spool", "log", "run", "gpus", "munge", "secret"):
            (self.root / name).mkdir(parents=True)
        self.root.chmod(0o755)
        (self.root / "munge").chmod(0o755)
        (self.root / "secret").chmod(0o700)
        (self.root / "secret" / "key").write_bytes(os.urandom(128))
        (self.root / "secret" / "key").chmod(0o600)
        (self.root / "plugstack.conf").touch()
        for index in range(8):
            (self.root / "gpus" / f"gpu{index}").symlink_to("/dev/null")
        self._write_config()
        secret = self.root / "secret"
        self._spawn(
            "munged", "--foreground", f"--key-file={secret}/key", f"--socket={self.root}/munge/sock",
            f"--pid-file={secret}/pid", f"--seed-file={secret}/seed", f"--log-file={secret}/log",
        )  # fmt: skip
        self.wait_for((self.root / "munge" / "sock").exists, "munged", seconds=20)
        self._spawn("slurmctld", "-D")
        for node in (*NODES, "plain-127-0-0-3"):
            self._spawn("slurmd", "-D", "-N", node)
        self.wait_for(self._all_idle, "the nodes of the test's Slurm to be idle", seconds=30)

    def _write_config(self) -> None:
        host = socket.gethostname().split(".")[0]
        port = _free_port_block(400)
        lines = [
            CONFIG.format(
                host=host, root=self.root, port=port, port1=port + 1, srun_first=port + 20, srun_last=port + 399
            )
        ]
        for index, node in enumerate((*NODES, "plain-127-0-0-3")):
            (self.root / "spool" / node).mkdir()
            gpus = "" if node.startswith("plain") else " Gres=gpu:8"
            lines.append(
                f"NodeName={node} NodeAddr=127.0.0.1 NodeHostname={host} Port={port + 2 + index} CPUs=32{gpus}\n"
            )
        nodes = ",".join(NODES)
        lines += [
            f"PartitionName={GPU_PARTITION} Nodes={nodes} Default=YES State=UP PriorityTier=10 PreemptMode=OFF\n",
            f"PartitionName={LOW_PARTITION} Nodes={nodes} State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=5\n",
            f"PartitionName={CPU_PARTITION} Nodes=plain-127-0-0-3 State=UP PriorityTier=10 PreemptMode=OFF\n",
        ]
        (self.root / "slurm.conf").write_text("".join(lines))
        (self.root / "gres.conf").write_text(f"NodeName={nodes} Name=gpu File={self.root}/gpus/gpu[0-7]\n")

    def _spawn(self, *command: str) -> None:
        with (self.root / "log" / "daemons.out").open("ab") as output:
            self._daemons.append(
                subprocess.Popen(
                    command, env=self.environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=self.root
                )
            )

    def _all_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-o", "%N %t", check=False).stdout.split("\n")
        return len({line for line in states if line.endswith(" idle")}) == len(NODES) + 1

    def run(self, *command: str, check: bool = True, timeout: float = 60, **environment: str):
        """Runs a command against this cluster; its output is text, stderr beside stdout."""
        result = subprocess.run(
            command,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
        )
        assert not check or result.returncode == 0, f"{command}: code {result.returncode}\n{result.stdout}"
        return result

    def job_state(self, job: int) -> str:
        """PENDING, RUNNING, COMPLETED, ... of a job Slurm still remembers."""
        fields = self.run("scontrol", "show", "job", "-o", str(job)).stdout.split()
        return next(field.split("=")[1] for field in fields if field.startswith("JobState="))

    def wait_for(self, condition, what: str, *, seconds: float = 60) -> None:
        """Asks `condition` until it is true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s for {what}\n{self.log_tail()}"
            time.sleep(0.1)

    def log_tail(self) -> str:
        """The last lines of what the daemons wrote, for a failure's message."""
        return "\n".join(f"-- {path.name}\n{path.read_text()[-1500:]}" for path in (self.root / "log").iterdir())

    def stop(self) -> None:
        """Cancels the jobs, ends the daemons that were started here, and waits for them."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("scancel", "--user=root", check=False, timeout=10)
            time.sleep(0.3)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _free_port_block(size: int) -> int:
    """The first of `size` neighbouring ports of which the daemons' are free."""
    for _ in range(50):
        first = random.SystemRandom().randrange(20000, 31000, size)  # below the kernel's range for outgoing connections
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + 20):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A started cluster in a new folder, gone again afterwards."""
    # not below pytest's own folders: munged wants every parent of its socket to be open to all users
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(root)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)
