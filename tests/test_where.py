"""Where the project runs: in another Python or next to packages with our names, it says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT


def ended(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT.parent, env=variables, capture_output=True, text=True
    )


@pytest.mark.whole
@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["main.py", "--config", "exps/motion8/tsn_resnet18/config.yaml"], "yaml"),
        (["tools/predict.py", "x.pth.tar", "x.mp4"], "numpy"),
        (["tools/cost.py"], "torch"),
        (["anal_tools/analyze.py", "-e", "x"], "numpy"),
    ],
)
def test_a_command_in_a_python_without_the_packages_says_which_python_has_them(
    command: list[str], package: str
) -> None:
    script, *arguments = command
    done = ended("-S", "-E", ROOT / script, *arguments)  # without site-packages
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"has no package {package}: run the command with {ROOT / '.venv/bin/python'}" in done.stderr


@pytest.mark.whole
def test_code_elsewhere_that_would_get_another_datasets_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").touch()
    wrong = ended("-c", "import tools", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert wrong.returncode == 1 and wrong.stderr.splitlines()[-1] == (
        f"ImportError: `datasets` is {tmp_path / 'datasets/__init__.py'}, and not the project's in {ROOT}: work in "
        f"that folder, or put it first with PYTHONPATH={ROOT}"
    )
    assert ended("-c", "import tools", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}").returncode == 0
