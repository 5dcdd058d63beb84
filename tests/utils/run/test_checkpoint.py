from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch

from networks.checkpoints.load import load_checkpoint_file
from tests.helpers.trained import write_checkpoint
from utils.errors import CheckpointError
from utils.files import atomic_write
from utils.run import checkpoint, resume


def made(step: int) -> dict[str, object]:
    """What a run needs to continue."""
    state = {"module.w": torch.full((3,), float(step))}
    return {"step": step, "state_dict": state, "best_prec1": 0.0, "optimizer": {"state": {}, "param_groups": []}}


def test_the_newest_and_the_one_before_are_kept_and_best_is_marked(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1), best=True)
    checkpoint.save(tmp_path, made(2), best=False)
    steps = {name: checkpoint.load(tmp_path / name)["step"] for name in ("ckpt.pth.tar", "ckpt_before.pth.tar")}
    assert steps == {"ckpt.pth.tar": 2, "ckpt_before.pth.tar": 1}
    assert checkpoint.load(tmp_path / "ckpt_best.pth.tar")["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ckpt.pth.tar", "ckpt_before.pth.tar", "ckpt_best.pth.tar",
    ]  # fmt: skip


@pytest.mark.parametrize("entry", ["state_dict", "train_state_dict"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_statistics_that_are_not_numbers_are_not_written(tmp_path: Path, entry: str, value: float) -> None:
    checkpoint.save(tmp_path, made(1), best=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    diverged = {**made(2), entry: {"bn.running_var": torch.tensor([1.0, value])}}
    message = r"ckpt\.pth\.tar: not written: after 2 steps, bn\.running_var is NaN or infinite in 1 of 2 places"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.save(tmp_path, diverged, best=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_attention_mask_is_infinite_on_purpose(tmp_path: Path) -> None:
    masked = {**made(1), "state_dict": {"attn_mask": torch.tensor([0.0, float("-inf")])}}
    checkpoint.save(tmp_path, masked, best=False)
    assert checkpoint.load(tmp_path / checkpoint.NEWEST)["step"] == 1


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


def test_a_named_pipe_is_no_checkpoint_and_nobody_waits_for_it(tmp_path: Path) -> None:
    for path in (tmp_path / checkpoint.NEWEST, tmp_path / "other.pth"):
        os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"other\.pth: cannot be read: it is a named pipe; give a file"):
        load_checkpoint_file(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"ckpt\.pth\.tar: damaged or .*it is a named pipe; give a file"):
        checkpoint.load_newest(tmp_path)


ODD = [
    ({"step": -1}, "`step` is not what a run writes: Input should be greater than or equal to 0"),
    ({"step": "7"}, "`step` is not what a run writes: Input should be a valid integer"),
    ({"state_dict": [1]}, "`state_dict` is not what a run writes"),
    ({"optimizer": None}, "`optimizer` is not what a run writes"),
    ({"optimizer": {"state": {}}}, "`optimizer.param_groups` is missing"),
    ({"trainer": []}, "`trainer` is not what a run writes"),
    ({"trainer": {"best_prec1": 1.0}}, "`trainer.step` is missing"),
    ({"trainer": {"step": 2, "best_prec1": 1.0, "meters": 3}}, "`trainer.meters` is not what a run writes"),
    (
        {"trainer": {"step": 2, "best_prec1": 1.0, "meters": {"loss": "a"}}},
        r"`trainer\.meters\.loss.* is not what a",
    ),
    ({"trainer": {"step": 2, "best_prec1": 1.0, "seconds": "x"}}, r"`trainer\.seconds` is not what a run writes"),
    ({"trainer": {"step": 2, "best_prec1": 1.0, "best_loss": "x"}}, r"`trainer\.best_loss` is not what a run writes"),
    ({"config": "common"}, "`config` is not what a run writes"),
    ({"notes": "a"}, "`notes` is not what a run writes"),
    ({"class_names": [1, 2]}, r"`class_names\..*` is not what a run writes"),
    ({"scaler": 1.0}, "`scaler` is not what a run writes"),
    ({"train_state_dict": {"w": 1}}, r"`train_state_dict\.w` is not what a run writes"),
]


@pytest.mark.parametrize(("changes", "words"), ODD)
def test_an_entry_of_another_type_falls_back_with_a_word(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    torch.save({**made(1), "state_dict": {}}, tmp_path / checkpoint.BEFORE)
    torch.save({**made(2), **changes}, tmp_path / checkpoint.NEWEST)
    found = checkpoint.load_newest(tmp_path)
    assert found is not None and found[1].name == checkpoint.BEFORE and re.search(rf"ckpt\.pth\.tar: {words}", found[2])


@pytest.mark.parametrize("missing", ["optimizer", "best_prec1"])
def test_weights_alone_are_nothing_to_continue_from(missing: str, tmp_path: Path) -> None:
    contents = made(2)
    del contents[missing]
    torch.save(contents, tmp_path / checkpoint.NEWEST)
    assert checkpoint.load(tmp_path / checkpoint.NEWEST)["step"] == 2
    with pytest.raises(CheckpointError, match=f"`{missing}` is missing"):
        checkpoint.load_newest(tmp_path)


def test_a_flipped_bit_falls_back_with_a_word(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1), best=False)
    checkpoint.save(tmp_path, made(2), best=False)
    newest = tmp_path / checkpoint.NEWEST
    whole = newest.read_bytes()
    place = whole.index(np.full(3, 2.0, np.float32).tobytes())
    newest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    found = checkpoint.load_newest(tmp_path)
    assert found is not None and found[0]["step"] == 1
    assert "ckpt.pth.tar: damaged or not a checkpoint: Bad CRC-32" in found[2]


def test_weights_that_are_no_tensors_are_not_those_that_were_saved(tmp_path: Path) -> None:
    contents = torch.load(path := write_checkpoint(tmp_path), weights_only=True)
    contents["state_dict"]["module.x"] = 5
    torch.save(contents, path)
    assert load_checkpoint_file(path).warnings == ("its weights were changed after the run had saved them",)


@pytest.mark.parametrize("run", [5, None, {"processes": "x"}, {}])
def test_a_run_that_does_not_say_how_many_processes_it_had_is_no_obstacle(run: object) -> None:
    assert resume._processes({"run": run}) is None and resume._processes({}) is None


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
    weights = {"module.w": torch.full((3,), float(step))}
    return {"step": step, "state_dict": weights, "best_prec1": 0.0, "optimizer": {"state": {}, "param_groups": []}}

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
