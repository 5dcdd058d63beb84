"""Checks the scripts that start experiments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT

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


@pytest.mark.parametrize("option", ["--fresh", "--load-path=x", "common.batch_size=2", "--fusion-list", "--not-strict"])
def test_an_option_of_main_is_refused_where_srun_options_stand(option: str) -> None:
    """Without Slurm those are dropped, and the run that started would not be the one that was meant."""
    run = subprocess.run([SCRIPTS[0], "local", "1", option], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {option} is an option of main.py; those go behind --")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--fusion-list", "a", "b"], ["--load-path", "x.pth"]])
def test_an_evaluation_gets_no_checkpoint_that_nobody_named(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = os.environ | {"PYTHON": str(tmp_path / "python")}
    launch = ["bash", ROOT / "tools/launch.sh", "eval", tmp_path, "local", "1", "--", *options]
    said = subprocess.run(launch, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(ROOT / "main.py"), "--config", str(tmp_path / "config.yaml"), "--evaluate", *options]
