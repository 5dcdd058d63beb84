from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from utils.errors import CheckpointError
from utils.files import atomic_write
from utils.run import checkpoint


def made(step: int) -> dict[str, object]:
    return {"step": step, "state_dict": {"module.w": torch.full((3,), float(step))}}


def test_the_newest_and_the_one_before_are_kept_and_best_is_marked(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1), best=True)
    checkpoint.save(tmp_path, made(2), best=False)
    steps = {name: checkpoint.load(tmp_path / name)["step"] for name in ("ckpt.pth.tar", "ckpt_before.pth.tar")}
    assert steps == {"ckpt.pth.tar": 2, "ckpt_before.pth.tar": 1}
    assert checkpoint.load(tmp_path / "ckpt_best.pth.tar")["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ckpt.pth.tar", "ckpt_before.pth.tar", "ckpt_best.pth.tar",
    ]  # fmt: skip


def test_a_damaged_newest_falls_back_to_the_one_before_with_a_word(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1), best=False)
    checkpoint.save(tmp_path, made(2), best=False)
    newest = tmp_path / checkpoint.NEWEST
    newest.write_bytes(newest.read_bytes()[:100])
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found[0]["step"] == 1 and found[1].name == checkpoint.BEFORE and "ckpt.pth.tar: damaged" in found[2]
    (tmp_path / checkpoint.BEFORE).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint here loads"):
        checkpoint.load_newest(tmp_path)


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"abc", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth: damaged or not a checkpoint: \w.{20}") as error:
        checkpoint.load(path)
    assert "weights_only" not in str(error.value)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    torch.save({"step": 1, "state_dict": {}, "x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        checkpoint.load(tmp_path / "evil.pth")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, made(1), best=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(tmp_path, made(2), best=True)
    assert checkpoint.load(tmp_path / checkpoint.NEWEST)["step"] == 1
    assert checkpoint.load(tmp_path / checkpoint.BEST)["step"] == 1
    assert len(list(tmp_path.iterdir())) == 2


class Full:
    """A file on a disk that is full."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_is_named_although_torch_hides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def on_a_full_disk(path: Path) -> Iterator[Full]:
        with atomic_write(path) as file:
            yield Full(file)

    monkeypatch.setattr(checkpoint, "atomic_write", on_a_full_disk)
    with pytest.raises(CheckpointError) as error:
        checkpoint.save(tmp_path, made(1), best=True)
    assert "cannot be written (No space left on device)" in str(error.value) and "enforce" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_while_a_checkpoint_is_written_is_no_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(RuntimeError, match=r"^DataLoader worker"):
        checkpoint.save(tmp_path, made(1), best=True)
    assert list(tmp_path.iterdir()) == []


# one process forks a child per place; each child dies at its k-th call that changes the disk
KILLED_WHILE_SAVING = """
import os, signal, sys, torch
from pathlib import Path
from utils.run import checkpoint

def state(step):
    return {"step": step, "state_dict": {"module.w": torch.full((3,), float(step))}}

def deadly(function, at, count=[0]):
    def call(*args, **kwargs):
        count[0] += 1
        if count[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

class Deadly:  # a file whose writes count as well
    def __init__(self, file, write):
        self.file, self.write = file, write
    def __getattr__(self, name):
        return getattr(self.file, name)

def child(folder, at):
    real = torch.save
    torch.save = lambda what, file: real(what, Deadly(file, deadly(file.write, at)))
    for name in ("fsync", "link", "open"):
        setattr(os, name, deadly(getattr(os, name), at))
    for name in ("replace", "unlink"):
        setattr(Path, name, deadly(getattr(Path, name), at))
    checkpoint.save(folder, state(2), best=True)
    os._exit(0)

for at in range(1, 80):
    folder = Path(sys.argv[1]) / str(at)
    folder.mkdir()
    checkpoint.save(folder, state(0), best=True)
    checkpoint.save(folder, state(1), best=False)
    pid = os.fork()
    if pid == 0:
        child(folder, at)
    if os.waitpid(pid, 0)[1] == 0:
        print(at)
        break
"""


@pytest.mark.whole
def test_killed_at_any_call_that_changes_the_disk_a_checkpoint_still_loads(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) > 8, "the save must have been killed at several places before it got through"
    for folder in tmp_path.iterdir():
        found = checkpoint.load_newest(folder)
        assert found is not None and found[0]["step"] in (1, 2) and not found[2]
        assert checkpoint.load(folder / checkpoint.BEST)["step"] in (0, 2)
