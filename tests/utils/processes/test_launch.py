from __future__ import annotations

from typing import Any

import pytest

from utils.errors import ConfigError, LaunchError
from utils.processes import launch

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}
SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "4711",
    "SLURM_TASK_PID": "1",
    "SLURM_JOB_NODELIST": "SH-IDC1-127-0-0-[1-2]",
}


@pytest.fixture(autouse=True)
def _no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As inside a container without Slurm's programs; tests/integration/test_slurm.py has the real ones."""
    monkeypatch.setattr(launch, "_scontrol", lambda *arguments: "")


def test_without_a_launcher_there_is_one_process() -> None:
    process = launch.detect("cpu", environ={})
    assert (process.number, process.world_size, process.launcher, process.backend) == (0, 1, "python", "")
    assert str(process) == "python: one process on cpu"


def test_torchrun_comes_before_slurm() -> None:
    process = launch.detect("cpu", environ=SLURM | TORCHRUN)
    assert (process.launcher, process.number, process.world_size, process.local_rank) == ("torchrun", 3, 4, 1)
    assert str(process) == "torchrun: rank 3 of 4 on cpu, meeting at 127.0.0.1:29400 over gloo"


def test_slurm_meets_on_the_first_node_at_a_port_of_the_job() -> None:
    process = launch.detect("cpu", environ=SLURM)
    assert str(process) == "slurm: rank 2 of 4 on cpu, meeting at 127.0.0.1:30211 over gloo"


def test_the_meeting_point_can_be_set_under_slurm() -> None:
    process = launch.detect("cpu", environ=SLURM | {"MASTER_ADDR": "localhost", "MASTER_PORT": "1234"})
    assert (process.master, process.port) == ("localhost", 1234)


@pytest.mark.parametrize("missing", TORCHRUN)
def test_a_missing_variable_of_torchrun_is_named(missing: str) -> None:
    environ = {name: value for name, value in TORCHRUN.items() if name != missing}
    with pytest.raises(LaunchError, match=f"only some of torchrun's variables are set: {missing} is missing"):
        launch.detect("cpu", environ=environ)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        ("SLURM_LOCALID", "SLURM_LOCALID"),
        ("SLURM_JOB_NODELIST", "SLURM_JOB_NODELIST"),
    ],
)
def test_a_missing_variable_of_slurm_is_named(missing: str, named: str) -> None:
    environ = {name: value for name, value in SLURM.items() if name != missing}
    with pytest.raises(LaunchError, match=f"only some of Slurm's variables are set: {named} is missing"):
        launch.detect("cpu", environ=environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "a"},  # a shell that salloc opened
        {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"},  # sbatch's script itself
    ],
)
def test_a_shell_inside_an_allocation_is_one_process(environ: dict[str, str]) -> None:
    assert launch.detect("cpu", environ=environ).world_size == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "4"}, "RANK=4 must be from 0 to WORLD_SIZE-1"),
        ({"RANK": "x"}, "RANK='x' is not a number"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT='http' is not a number"),
        (
            {"MASTER_ADDR": "no-such-host.invalid"},
            "rank 3: the host name 'no-such-host.invalid' of rank 0 cannot be resolved",
        ),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        launch.detect("cpu", environ=TORCHRUN | change)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05],login", "gpu03"),
        ("gpu7", "gpu7"),
        ("a,b", "a"),
        ("SH-IDC1-10-5-36-[103,107-110]", "SH-IDC1-10-5-36-103"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert launch.first_host(nodes) == first


@pytest.mark.parametrize(
    ("name", "address"),
    [("SH-IDC1-10-5-36-103", "10.5.36.103"), ("10-0-0-1", "10.0.0.1"), ("node-1", ""), ("gpu01", "")],
)
def test_an_address_inside_a_host_name(name: str, address: str) -> None:
    assert launch.dashed_address(name) == address


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 2, "cpu")],
)
def test_gpus_go_to_the_processes_of_a_node_in_order(
    device: str, gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert str(launch.choose_device(device, local_rank=1, world_size=2)) == expected


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda", 0, "PyTorch finds no GPU here"),
        ("cuda", 1, "process 1 of this node has no GPU of its own; PyTorch finds 1 here"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(
    device: str, gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=message):
        launch.choose_device(device, local_rank=1, world_size=2)


def test_one_gpu_bound_to_each_task_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("SLURM_STEP_GPUS", "3")
    assert str(launch.choose_device("auto", local_rank=3, world_size=4)) == "cuda:0"


def test_the_world_of_a_dry_run() -> None:
    environ: dict[str, Any] = TORCHRUN
    assert launch.expected_world_size(environ) == 4
    assert launch.expected_world_size({}) == 1


def test_several_processes_are_refused_in_one_line_where_they_cannot_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    environ: dict[str, Any] = TORCHRUN
    monkeypatch.setattr(launch, "SEVERAL_PROCESSES", False)
    with pytest.raises(LaunchError, match="on Linux and macOS only"):
        launch.detect("cpu", environ=environ)
    assert launch.detect("cpu", environ={}).world_size == 1


def test_all_attempts_of_a_launch_have_one_name() -> None:
    agent = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0"}
    first, again = (launch.launch_id(agent | {"TORCHELASTIC_RESTART_COUNT": count}) for count in ("0", "1"))
    assert first == again and first.startswith("torchrun none ")  # and the agent's own number
    task = {"SLURM_PROCID": "0", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_TASK_PID": "1"}
    assert launch.launch_id(task) == launch.launch_id(task | {"SLURM_RESTART_COUNT": "1"}) == "slurm 7 0"
    assert launch.launch_id(task) != launch.launch_id(task | {"SLURM_STEP_ID": "1"})
    assert launch.launch_id(task | {"LAUNCH_ID": "slurm 7"}) == "slurm 7"
    assert launch.launch_id({}) == ""
