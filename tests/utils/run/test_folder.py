from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.run.folder import RunFolder

HOLDER = """
import os, sys, time
from pathlib import Path
from utils.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])):
    if os.fork() == 0:      # a loader process that outlives its parent
        time.sleep(20)
        os._exit(0)
    print("holding", flush=True)
    time.sleep(20)
"""


@pytest.mark.whole
def test_a_folder_in_use_is_refused_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "holding\n"
    with pytest.raises(UserError, match=rf"process {holder.pid} .* is training here"), RunFolder(tmp_path):
        pass
    with RunFolder(tmp_path, training=False):  # evaluating beside a training is fine
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    time.sleep(0.1)
    with RunFolder(tmp_path):
        pass


def test_log_is_appended_and_failures_are_in_it(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.log("first")
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path) as folder:
        folder.warn("second")
        raise ZeroDivisionError("third")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split("] ")[1] for line in lines] == ["first", "warning: second", "ended by ZeroDivisionError: third"]


def test_a_path_that_is_no_utf8_is_in_the_log(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.log(os.fsdecode(b"caf\xe9 left out"))
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").endswith("] caf\\udce9 left out\n")


def test_a_folder_leaves_no_logger_behind(tmp_path: Path) -> None:
    before = set(logging.root.manager.loggerDict)
    with RunFolder(tmp_path) as folder:
        folder.log("x")
    assert set(logging.root.manager.loggerDict) == before


def test_a_resumed_run_drops_the_metrics_it_will_write_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        for step in range(4):
            folder.metrics({"kind": "train", "step": step})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "tr')  # cut off by a kill
        folder.rewind_metrics(2)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1]


def test_damaged_lines_of_the_metrics_are_set_aside_and_said(tmp_path: Path) -> None:
    damaged = [b"\xff\xfe\x00", b"7", b"null", b'{"kind": "train"}', b'{"step": "3"}', b"9" * 5000, b"[" * 100_000]
    good = b'{"kind": "train", "step": 0}'
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([good, *damaged, b"", good.replace(b"0", b"1")]) + b"\n")
    with RunFolder(tmp_path) as folder:
        folder.rewind_metrics(1)
    assert (tmp_path / "metrics.jsonl").read_bytes() == good + b"\n"
    assert (tmp_path / "metrics_damaged.txt").read_bytes() == b"".join(line + b"\n" for line in damaged)
    assert "warning" in (log := (tmp_path / "log.txt").read_text()) and "7 line(s) that are no records" in log


@pytest.mark.parametrize("name", ["metrics.jsonl", "log.txt", ".lock", "runs.jsonl"])
def test_a_pipe_where_a_file_should_be_is_an_error_and_not_a_run_that_waits(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: is no file"), RunFolder(tmp_path) as folder:
        folder.begin(0, {"launch": "x"})


def test_a_terminal_that_is_gone_does_not_stop_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", pipe)
        with RunFolder(tmp_path) as folder:
            for number in range(3):
                folder.log(f"line {number}")
    assert (tmp_path / "log.txt").read_text().count("] line ") == 3


def test_a_log_that_cannot_be_written_ends_the_run_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"log.txt: (is no file|cannot be written)"), RunFolder(tmp_path) as folder:
        folder.log("x")


def test_attempts_of_a_launch_know_each_other(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        assert not folder.was_begun_by("slurm 7")
        folder.begin(0, {"launch": "slurm 7"})
        folder.begin(5, {"launch": ""})
        assert folder.was_begun_by("slurm 7")
        assert not folder.was_begun_by("slurm 8") and not folder.was_begun_by("")


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with RunFolder(tmp_path, writer=False) as folder:
        folder.log("x")
        folder.metrics({"step": 1})
        folder.scalars(1, {"lr": 0.1})
    assert list(tmp_path.iterdir()) == []


def test_set_aside_moves_an_old_runs_outputs_and_keeps_the_log(tmp_path: Path) -> None:
    for name in ("ckpt.pth.tar", "litmus.json"):
        (tmp_path / name).write_text("old")
    with RunFolder(tmp_path) as folder:
        folder.log("line")
        assert folder.set_aside() == tmp_path / "previous-1"
        assert folder.set_aside() is None
    assert (tmp_path / "previous-1" / "ckpt.pth.tar").read_text() == "old" and (tmp_path / "log.txt").exists()
    assert (tmp_path / "previous-1" / "litmus.json").exists() and not (tmp_path / "litmus.json").exists()
