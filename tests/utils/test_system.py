"""What differs between operating systems; the branches of other systems are tested by hiding what Linux has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.helpers.lock import held
from tests.helpers.requirements import ROOT
from utils import files, system


def test_a_lock_keeps_other_processes_out_until_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path) as holder, path.open("a+") as file:
        assert not system.lock(file)
        holder.kill()
        holder.wait()
        assert system.lock(file)


def test_without_posix_locks_a_byte_behind_the_text_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows does it, where nobody can read what is locked."""
    taken: list[int] = []

    def locking(descriptor: int, mode: int, length: int) -> None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        if place in taken:
            raise PermissionError(13, "Permission denied")
        taken.append(place)

    monkeypatch.setattr(system, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))  # type: ignore[arg-type]
    with (tmp_path / "lock").open("a+") as file:
        assert system.lock(file)
        file.write("process 3 on somewhere\n")
        file.flush()
        assert not system.lock(file)
        file.seek(0)
        assert file.read() == "process 3 on somewhere\n"
    assert taken == [system.LOCKED_BYTE] and (tmp_path / "lock").stat().st_size < 100


def test_memory_that_the_system_does_not_measure_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = system.peak_memory()
    assert peak is not None and 10 << 20 < peak < 1 << 40
    monkeypatch.setattr(system, "resource", None)
    monkeypatch.setattr(system, "Path", lambda _: Path("/nowhere"))
    assert system.peak_memory() is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({}, 8),
    ],
)
def test_a_container_has_as_many_cores_as_its_time_limit_is_worth(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(system, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert system.cores() == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ({"GOMP_SPINCOUNT": "100"}, None),
        ({"KMP_BLOCKTIME": "1"}, None),
    ],
)
def test_threads_that_wait_sleep_unless_the_user_wants_otherwise(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    system.wait_asleep()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_a_command_decides_how_threads_wait_before_torch_is_loaded() -> None:
    code = "import os, sys\nfrom utils.cli import answer_early\nanswer_early(lambda: None)\n"
    code += "print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "PASSIVE"], done.stderr


ENDED = """
import os, signal, sys, tempfile
from utils.cli import run_cli

def main(argv):
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))

if sys.argv[2] == "ignored":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
run_cli(main)
"""


@pytest.mark.parametrize(
    ("how", "name", "code"), [("caught", "SIGTERM", 143), ("caught", "SIGHUP", 129), ("ignored", "SIGHUP", 0)]
)
def test_a_signal_that_ends_a_command_leaves_no_temporary_folder(
    tmp_path: Path, how: str, name: str, code: int
) -> None:
    command = [sys.executable, "-c", ENDED, str(tmp_path), how, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (code, "", [])


def test_memory_is_that_of_the_machine_or_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    found = system.total_memory()
    assert found is not None and 100 << 20 < found < 1 << 50
    monkeypatch.setattr(Path, "read_text", lambda path, **_: "max\n" if "memory.max" in str(path) else "123456789\n")
    assert system.total_memory() == 123456789


def test_the_interface_of_an_address_is_found_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.interface_of("127.0.0.1") in {name for _, name in socket.if_nameindex()}
    assert system.interface_of("203.0.113.7") is None  # of nobody, RFC 5737
    monkeypatch.setattr(system, "fcntl", None)
    assert system.interface_of("127.0.0.1") is None


def test_files_are_written_whole_where_folders_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def only_files(path: str, *rest: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    monkeypatch.delattr(os, "fchmod")
    monkeypatch.setattr(os, "open", only_files)
    with files.atomic_write(tmp_path / "x", "w") as file:
        file.write("text")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "text"


def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    ballast = bytes(300 * 1024**2)
    ask = [sys.executable, "-c", "from utils.system import peak_memory; print(peak_memory())"]
    said = int(subprocess.run(ask, cwd=ROOT, capture_output=True, check=True, text=True).stdout)
    peak = system.peak_memory()
    assert peak is not None and 0 < said < len(ballast) < peak


def test_without_proc_the_peak_is_what_getrusage_says(monkeypatch: pytest.MonkeyPatch) -> None:
    known = system.peak_memory()
    monkeypatch.setattr(system, "Path", lambda _: Path("/nowhere"))
    said = system.peak_memory()
    assert known is not None and said is not None and said > known / 2
