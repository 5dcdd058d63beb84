"""get_reference_results.py hands over to main.py's evaluation and complains in one line."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from anal_tools.get_reference_results import main
from tests.helpers.run_tool import run_tool


def test_it_is_the_evaluation_of_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("common: {}\n")
    calls: list[list[str]] = []
    stand_in = types.ModuleType("main")
    stand_in.main = lambda argv: calls.append(argv) or 0  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "main", stand_in)
    config = str(tmp_path / "config.yaml")
    assert main(["-e", str(tmp_path)]) == 0
    assert main(["-e", config, "--load-path", "x.pth", "common.val_dense=True"]) == 0
    assert calls == [
        ["--config", config, "--evaluate"],
        ["--config", config, "--evaluate", "--load-path", "x.pth", "common.val_dense=True"],
    ]


@pytest.mark.parametrize(("make", "says"), [(True, "config.yaml: not there"), (False, "no such experiment folder")])
def test_a_wrong_folder_is_one_line_and_exit_2(tmp_path: Path, make: bool, says: str) -> None:
    folder = tmp_path if make else tmp_path / "nowhere"
    done = run_tool("get_reference_results", "-e", folder, folder="anal_tools", code=2)
    assert done.stderr.count("\n") == 1 and says in done.stderr


def test_help_names_what_it_takes() -> None:
    assert "EXP" in run_tool("get_reference_results", "--help", folder="anal_tools").stdout
