"""train.sh and eval.sh on a real Slurm of three nodes, which these tests start on this machine and stop again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.experiment import make_experiment, same_weights, weights
from tests.helpers.requirements import ROOT
from tests.slurm.cluster import CPU_PARTITION, GPU_PARTITION, Cluster, running_cluster, slurm_test

pytestmark = [*slurm_test, pytest.mark.timeout(600), pytest.mark.xdist_group("slurm")]
SCRIPTS = next((ROOT / "exps" / "motion8").glob("tsm*"))
PEAK = {"type": "COSINE", "base_lr": 0.01, "warmup_steps": 2, "warmup_lr": 0.02}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        cluster.environment |= {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        yield cluster


def experiment(root: Path, **common: Any) -> Path:
    """An experiment folder with the project's own scripts, in a tree of links to the project."""
    config = make_experiment(root / "data", **common)
    project = root / "project"
    (project / "exps").mkdir(parents=True)
    for name in ("main.py", "tools"):
        (project / name).symlink_to(ROOT / name)
    folder = project / "exps" / "tiny"
    folder.mkdir()
    shutil.copy(config, folder / "config.yaml")
    for script in ("train.sh", "eval.sh"):
        shutil.copy(SCRIPTS / script, folder / script)
    return folder


def job_fields(cluster: Cluster, job: int) -> dict[str, str]:
    """What Slurm says of a job that has ended: one that is completing has fewer nodes from moment to moment."""
    while True:
        words = cluster.run("scontrol", "show", "job", "-o", str(job)).stdout.split()
        fields = dict(word.split("=", 1) for word in words if "=" in word)
        if fields["JobState"] != "COMPLETING":
            return fields
        time.sleep(0.2)


def last_job(cluster: Cluster) -> int:
    return max(map(int, re.findall(r"JobId=(\d+)", cluster.run("scontrol", "show", "job", "-o").stdout)))


def test_two_nodes_with_four_tasks_train_to_the_end_and_evaluate(cluster: Cluster, tmp_path: Path) -> None:
    folder = experiment(tmp_path, batch_size=2, workers=2, lr_scheduler=PEAK | {"max_iter": 5})
    two_a_node = "-N2"
    cluster.run(str(folder / "train.sh"), GPU_PARTITION, "4", two_a_node, timeout=240)

    job = job_fields(cluster, last_job(cluster))
    assert (job["NumNodes"], job["NumTasks"], job["Partition"]) == ("2", "4", GPU_PARTITION)
    assert job["CPUs/Task"] == "2"  # `workers`
    assert job["TresPerNode"] == "gres:gpu:2"
    for name in ("ckpt.pth.tar", "ckpt_best.pth.tar", "log.txt", "full_log.txt", "events", "metrics.jsonl"):
        assert (folder / name).exists(), name
    log = (folder / "log.txt").read_text()
    port = 29500 + last_job(cluster) % 1000
    assert f"slurm: rank 0 of 4 on cpu, meeting at 127.0.0.1:{port} over gloo" in log
    assert "2 per process x 4 process(es) = 8 videos per step" in log

    cluster.run(str(folder / "eval.sh"), GPU_PARTITION, "4", two_a_node, timeout=240)
    lines = (folder / "reference_result.txt").read_text().splitlines()
    assert len(lines) == 6 and len({line.rsplit(maxsplit=3)[0] for line in lines}) == 6
    assert (folder / "eval_log.txt").exists() and (folder / "reference_scores.npz").exists()


def test_a_requeued_sbatch_run_ends_with_the_weights_of_an_undisturbed_one(cluster: Cluster, tmp_path: Path) -> None:
    common = {"batch_size": 2, "workers": 2, "lr_scheduler": PEAK | {"max_iter": 30}, "val_freq": 20, "ckpt_freq": 7}
    undisturbed = experiment(tmp_path / "one", **common)
    cluster.run(str(undisturbed / "train.sh"), "local", "2", timeout=240)

    folder = experiment(tmp_path / "two", **common)
    # without options sbatch asks for one CPU: the script has to ask for what two tasks need, on nodes without GPUs
    output = tmp_path / "two" / "slurm-%j.out"
    script = [str(folder / "train.sh"), CPU_PARTITION, "2", "--", "--fresh"]  # which counts once
    cluster.run("sbatch", f"--output={output}", f"--chdir={tmp_path}", *script)
    metrics = folder / "metrics.jsonl"
    cluster.wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 2, "some steps", seconds=120)
    job = last_job(cluster)
    assert (job_fields(cluster, job)["NumTasks"], job_fields(cluster, job)["Requeue"]) == ("2", "1")
    cluster.run("scontrol", "requeue", str(job))
    cluster.wait_for(lambda: cluster.job_state(job) == "PENDING", "the job to be queued again")
    log = folder / "log.txt"
    assert re.search(r"stopped by SIG(TERM|USR1)", log.read_text()) and "done: " not in log.read_text()
    cluster.wait_for(lambda: cluster.job_state(job) == "COMPLETED", "the job to end", seconds=180)
    assert job_fields(cluster, job)["Restarts"] == "1"
    assert "continuing from" in log.read_text()
    assert same_weights(weights(folder / "config.yaml"), weights(undisturbed / "config.yaml"))


def tasks_of(folder: Path, rank: int) -> list[int]:
    """Process ids of the main.py that trains in `folder` as Slurm's task `rank`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            if f"SLURM_PROCID={rank}\0".encode() in environment and f"{folder}/config.yaml".encode() in command:
                found.append(int(process.name))
    return found


def test_a_killed_task_is_started_again_by_the_script(cluster: Cluster, tmp_path: Path) -> None:
    folder = experiment(tmp_path, batch_size=2, lr_scheduler=PEAK | {"max_iter": 30}, val_freq=20, ckpt_freq=7)
    with ThreadPoolExecutor(1) as pool:
        arguments = str(folder / "train.sh"), GPU_PARTITION, "2", "--", "--fresh"  # which counts once
        script = pool.submit(cluster.run, *arguments, timeout=240, RETRIES="1")
        cluster.wait_for((folder / "ckpt.pth.tar").exists, "a checkpoint", seconds=120)
        for pid in tasks_of(folder, rank=1):
            os.kill(pid, signal.SIGKILL)
        output = script.result().stdout
    assert "starting it again (1 of 1)" in output
    assert "continuing from" in (folder / "log.txt").read_text()
