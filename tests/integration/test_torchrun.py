"""The same command under the real torchrun, which starts all processes again when one is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.experiment import make_experiment, same_weights, weights
from tests.helpers.requirements import ROOT
from tests.integration.interruptions import OPTIONS, undisturbed

SECONDS = 200.0


def process_of(config: Path, rank: int) -> int | None:
    """The process id of main.py that trains `config` as torchrun's process `rank`."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            ours = f"{config}\0".encode() in command and b"main.py\0" in command
            if ours and f"\0RANK={rank}\0".encode() in b"\0" + environment:
                return int(process.name)
    return None


@pytest.mark.long
@pytest.mark.gloo
@pytest.mark.interrupt
def test_killed_under_torchrun_the_run_goes_on_by_itself_to_the_same_weights(tmp_path: Path) -> None:
    config = make_experiment(tmp_path / "disturbed", **OPTIONS)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"),
        *(str(ROOT / "main.py"), "--config", str(config), "--fresh"),
    ]
    with (tmp_path / "printed.txt").open("w") as printed:
        agent = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not (config.parent / "ckpt.pth.tar").exists():
                assert agent.poll() is None and time.monotonic() < deadline, (tmp_path / "printed.txt").read_text()
                time.sleep(0.01)
            victim = process_of(config, rank=1)
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            assert agent.wait(SECONDS) == 0, (tmp_path / "printed.txt").read_text()
        finally:
            agent.kill()
            agent.wait()
    log = (config.parent / "log.txt").read_text()
    assert log.count("torchrun: rank 0 of 2") == 2 and "continuing from" in log
    assert "--fresh: done by an earlier attempt of this launch" in log
    reference, _ = undisturbed(tmp_path / "undisturbed", 2)
    assert same_weights(weights(config), weights(reference))
