"""Follows one training step through the code: a reader should not have to leave a file and come back."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.helpers.experiment import make_experiment, run
from utils.files import ROOT
from utils.training.trainer import Trainer

OWN = tuple(f"{ROOT}/{place}/" for place in ("methods", "networks", "datasets", "utils"))
MOST_FILES, MOST_RETURNS = 18, 15


def files_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The own files that the second step of a TSM run enters, from the loader to the update, in the order of calls."""
    entered: list[str] = []
    update = Trainer._update

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(OWN) and entered[-1:] != [name]:
            entered.append(name)

    def followed(self: Trainer, step: Any, loader: Any) -> None:
        if step.number == 1:
            sys.setprofile(note)
        try:
            update(self, step, loader)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(Trainer, "_update", followed)
    plain = {"augmentation": {"input_size": 32, "mix_up": None}, "watch": {"clips": 0}}
    assert run(make_experiment(tmp_path, **plain), "common.lr_scheduler.max_iter=2", "common.batch_size=1") == 0
    return [name.removeprefix(f"{ROOT}/") for name in entered]


def test_a_step_enters_few_files_and_returns_to_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = files_of_a_step(tmp_path, monkeypatch)
    files = list(dict.fromkeys(entered))
    assert files[0] == "utils/training/trainer.py" and {"methods/tsn.py", "datasets/frame_dataset.py"} < {*files}
    assert len(files) <= MOST_FILES, files
    assert len(entered) - len(files) <= MOST_RETURNS, " -> ".join(entered)
