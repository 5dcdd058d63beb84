"""Progress is a bar on a terminal and plain lines elsewhere, never in log.txt, and only of the first process."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.helpers.experiment import make_experiment
from tests.helpers.grey import ALONE, GreyList, Mean, batch, config
from tests.helpers.requirements import ROOT
from utils.run import progress
from utils.run.folder import RunFolder
from utils.run.progress import Progress
from utils.training.precision import Precision
from utils.training.trainer import Step, Trainer

CPU = torch.device("cpu")


def on_a_terminal(command: list[str], *, columns: int = 110) -> tuple[int, str]:
    """Runs a command whose stdout and stderr are a pseudo-terminal; its exit code and all that it wrote there."""
    master, slave = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(master, 1 << 16):
                written.append(data)
        except OSError:  # Linux's way to say that nobody writes any more
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    code = subprocess.run(command, cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave).returncode
    os.close(slave)
    reader.join()
    os.close(master)
    return code, b"".join(written).decode()


@pytest.mark.long
@pytest.mark.whole
def test_a_terminal_shows_a_bar_and_the_log_stays_as_it_is(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    code, text = on_a_terminal([sys.executable, "main.py", "--config", str(config)])
    assert code == 0
    bars = re.findall(r"\x1b\[2K([^\r]+)\r", text)
    assert any(
        re.match(r"training [#-]+ \d/9 ETA \d:\d\d:\d\d, [\d.]+ clips/s, data wait \d+%, [\d.]+ GiB", bar)
        for bar in bars
    )
    assert any(re.match(r"validation [#-]+ \d/6", bar) for bar in bars) and "nan" not in "".join(bars)
    assert all(len(bar) < 110 for bar in bars)
    log = (config.parent / "log.txt").read_text()
    assert "\x1b" not in log and "ETA" not in log
    shown = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]  # what the bar does not cover
    assert all(len(line) <= 100 for line in shown if "Iter:" in line or " validation:" in line)
    for line in log.splitlines():
        time_and_text = re.sub(r"^\[\S+ ", "[", line)  # a terminal leaves out the day
        if "Iter:" in line or " validation:" in line:  # and tells less
            assert sum(part.startswith(re.split("\t| Prec", time_and_text)[0]) for part in shown) == 1, line
        else:
            hidden = "config sets" in line or "]   common." in line
            assert shown.count(time_and_text) == (not hidden), line


class Terminal:
    """What a folder shows, and the bars below it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.bars: list[str] = []
        self.show, self.draw = self.said.append, self.bars.append


def run_of_two_steps(shown: bool) -> Terminal:
    terminal = Terminal()
    common = config(steps=100, batch_size=8, val_freq=50, print_freq=2)
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    bar = Progress(terminal, shown=shown, device=CPU)  # type: ignore[arg-type]
    for step in bar.training(trainer, [Step(0, lr=0.1), Step(1, lr=0.1)]):
        trainer.state.step = step.number + 2  # the first step is not measured when it is shown
        trainer.state.meters["time"].update(0.5)
        trainer.state.meters["data"].update(0.1)
    assert len(list(bar.validation([batch(1, 2, labels=[0, 1]), batch(3, labels=[0])], 3))) == 2
    return terminal


def test_without_a_terminal_there_is_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_of_two_steps(True).said == []  # within the first minute
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    terminal = run_of_two_steps(True)
    first, *others = terminal.said
    assert re.fullmatch(
        r"training: 1/100, 1%, ETA 0:00:49, 16.0 clips/s, data wait 20%, [\d.]+ GiB", first
    )  # step 1 is the second one, so 98 steps of half a second
    assert [line.split(",")[0] for line in others] == ["validation: 2/3", "validation: 3/3"]
    assert not any(re.search(r"\x1b|\n", line) for line in (first, *others)) and terminal.bars == []


def test_a_terminal_behind_a_pipe_shows_the_bar_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("BAR_COLUMNS", "100")
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    terminal = run_of_two_steps(True)
    assert terminal.said == []
    assert [re.sub(r"[#-]{2,}", "#", bar)[:20] for bar in terminal.bars] == [
        "training # 1/100 ETA", "", "validation # 2/3 ETA", "validation # 3/3 ETA", "",
    ]  # fmt: skip
    assert all(len(bar) in (0, 99) for bar in terminal.bars)


def test_other_processes_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    assert run_of_two_steps(False).said == []


def test_lines_cover_the_bar_and_leave_it_out_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(tmp_path) as folder:
        folder.draw("half")
        folder.log("line")
        folder.log("another")
    shown = capsys.readouterr().out
    assert re.fullmatch(r"\x1b\[2Khalf\r\x1b\[2K\r\[[^]]+\] line\n\[[^]]+\] another\n", shown)
    assert "half" not in (tmp_path / "log.txt").read_text()


FAKE = """#!/bin/sh
printf '\\033[2Ktraining ##-- 1/4\\r'
printf '\\033[2K\\r[now] Iter: [2/4]\\n\\033[2Ktraining ###- 3/4\\r'
echo "a warning of somebody else, id $LAUNCH_ID" >&2
printf '\\033[2Ktraining #### 4/4\\r\\033[2K\\r[now] done %s\\n' "${BAR_COLUMNS:-no bar}"
[ -e "$0.again" ] || { touch "$0.again"; exit 1; }
"""


@pytest.mark.whole
@pytest.mark.parametrize("terminal", [True, False])
def test_train_sh_shows_the_bar_and_keeps_only_lines(tmp_path: Path, terminal: bool) -> None:
    """Its output goes through a pipe into a file."""
    exp, python = tmp_path / "exp", tmp_path / "python"
    exp.mkdir()
    (exp / "config.yaml").write_text("common: {}\n")
    python.write_text(FAKE)
    python.chmod(0o755)
    command = ["env", f"PYTHON={python}", "bash", "tools/launch.sh", "train", str(exp), "local", "0"]
    if terminal:
        code, text = on_a_terminal(command, columns=90)
        assert "training ##-- 1/4" in text and text.count("Iter: [2/4]") == 2  # two attempts
    else:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        code, text = done.returncode, done.stdout
    assert code == 0
    log, deadline = "", time.monotonic() + 10
    while log.count("[now] done") < 2 and time.monotonic() < deadline:  # tee may still be at work
        time.sleep(0.05)
        log = (exp / "full_log.txt").read_text() if (exp / "full_log.txt").exists() else ""
    ids = re.findall(r"a warning of somebody else, id (.+)", log)
    assert len(ids) == 2 and len(set(ids)) == 1
    if terminal:
        first, second, last = (line for line in log.splitlines()[:3])
        assert (first, second) == ("[now] Iter: [2/4]", f"a warning of somebody else, id {ids[0]}")
        assert last.startswith("[now] done ") and "\x1b" not in log and "no bar" not in log
    else:
        assert "[now] done no bar" in log
