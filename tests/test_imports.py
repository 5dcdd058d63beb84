"""Every program of the project can be started: the tools, and the scripts of the experiments."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT
from tests.helpers.source import OUR_NAMES

PROGRAMS = [
    path.relative_to(ROOT)
    for folder in ("tools", "anal_tools")
    for path in sorted((ROOT / folder).glob("[a-z]*.py"))
    if "__main__" in path.read_text()
]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
@pytest.mark.parametrize("way", ["file", "module"])
def test_a_tool_starts_as_a_file_and_as_a_module(program: Path, way: str, tmp_path: Path) -> None:
    # a fork has torch loaded already, which takes most of a start's seconds; of ours it keeps nothing
    child = multiprocessing.get_context("fork").Process(target=_show_help, args=(program, way, tmp_path / "out"))
    child.start()
    child.join(60)
    printed = (tmp_path / "out").read_text()
    assert child.exitcode == 0, printed
    assert "usage" in printed


def _show_help(program: Path, way: str, output: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in OUR_NAMES]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in ("", ".") and Path(entry).resolve() != ROOT]
    os.chdir(ROOT)
    sys.argv = [str(program), "--help"]
    with output.open("w") as file:
        sys.stdout = sys.stderr = file
        try:
            if way == "file":
                sys.path.insert(0, str((ROOT / program).parent))
                runpy.run_path(str(program), run_name="__main__")
            else:
                sys.path.insert(0, str(ROOT))
                runpy.run_module(".".join(program.with_suffix("").parts), run_name="__main__")
        except SystemExit as ended:
            file.flush()
            os._exit(int(ended.code or 0))
        except BaseException:
            traceback.print_exc(file=file)
            file.flush()
            os._exit(1)
    os._exit(0)


SCRIPTS = sorted(path for path in (ROOT / "exps").rglob("*.sh") if path.name in ("train.sh", "eval.sh"))


def test_every_experiment_has_its_scripts() -> None:
    configs = sorted((ROOT / "exps").rglob("config.yaml"))
    assert configs
    for config in configs:
        for name in ("train.sh", "eval.sh"):
            script = config.with_name(name)
            assert script.is_file() and os.access(script, os.X_OK), (
                f"{script.relative_to(ROOT)} is not there or not executable"
            )


def test_all_experiments_share_one_launcher() -> None:
    for name in ("train.sh", "eval.sh"):
        texts = {path.read_text() for path in SCRIPTS if path.name == name}
        assert len(texts) == 1, f"the copies of {name} under exps/ differ"


@pytest.mark.parametrize("option", ["--fresh", "--load-path=x", "common.batch_size=2"])
def test_an_option_of_main_is_refused_where_srun_options_stand(option: str) -> None:
    """Without Slurm those are dropped, and the run that started would not be the one that was meant."""
    run = subprocess.run([SCRIPTS[0], "local", "1", option], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {option} is an option of main.py; those go behind --")
    assert run.stderr.count("\n") == 1
