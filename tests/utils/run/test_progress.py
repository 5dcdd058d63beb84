"""Progress is a bar on a terminal and plain lines elsewhere, never in log.txt, and only of the first process."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tests.helpers.experiment import make_experiment
from tests.helpers.grey import ALONE, GreyList, Mean, batch, config
from tests.helpers.requirements import ROOT
from utils.run import progress
from utils.run.progress import Progress
from utils.training.precision import Precision
from utils.training.trainer import Step, Trainer

CPU = torch.device("cpu")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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


@pytest.mark.whole
def test_a_terminal_shows_both_bars_and_the_log_stays_as_it_is(tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    code, text = on_a_terminal([sys.executable, "main.py", "--config", str(config)])
    assert code == 0
    plain = ESCAPE.sub("", text)
    assert re.search(r"training.* \d/9 ETA \d:\d\d:\d\d, [\d.]+ clips/s, data wait \d+%, [\d.]+ GiB", plain)
    assert re.search(r"validation.* \d/6", plain) and "nan" not in plain
    assert "ETA" not in text[text.index("\x1b[?25l") : text.index("\x1b[?25h")]  # a kill would not hide the cursor
    assert text.count("\x1b[?25l") == 1
    log = (config.parent / "log.txt").read_text()
    assert "\x1b" not in log and "ETA" not in log
    for line in log.splitlines():  # each of them once above the bar, wrapped by the terminal's width
        assert " ".join(plain.split()).count(line.split("\t")[0][:100]) == 1


def run_of_two_steps(shown: bool) -> list[str]:
    said: list[str] = []
    common = config(steps=100, batch_size=8, val_freq=50, print_freq=2)
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=Precision("off", CPU))
    with Progress(said.append, shown=shown, device=CPU) as bar:
        for step in bar.training(trainer, [Step(0, lr=0.1), Step(1, lr=0.1)]):
            trainer.state.step = step.number + 2  # the first step is not measured when it is shown
            trainer.state.meters["time"].update(0.5)
            trainer.state.meters["data"].update(0.1)
        assert len(list(bar.validation([batch(1, 2, labels=[0, 1]), batch(3, labels=[0])], 3))) == 2
    return said


def test_without_a_terminal_there_is_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_of_two_steps(True) == []  # within the first minute
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    first, *others = run_of_two_steps(True)
    assert re.fullmatch(
        r"training: 2 of 100 steps, 2%, ETA 0:00:49, 16.0 clips/s, data wait 20%, [\d.]+ GiB", first
    )  # 98 steps of half a second
    assert [line.split(",")[0] for line in others] == ["validation: 2 of 3 videos", "validation: 3 of 3 videos"]
    assert not any(re.search(r"\x1b|\n", line) for line in (first, *others))


def test_other_processes_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    assert run_of_two_steps(False) == []
