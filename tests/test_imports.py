"""The shape of the house: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT

ALLOWED = {
    "utils": set(),
    "networks": {"utils"},
    "datasets": {"utils"},
    "methods": {"networks", "utils"},
    "main.py": {"methods", "networks", "datasets", "utils"},
    "anal_tools": {"methods", "networks", "datasets", "utils", "main", "tools"},
    "tools": {"methods", "networks", "datasets", "utils", "main", "anal_tools"},
    "benchmarks": {"methods", "networks", "datasets", "utils", "main", "anal_tools", "tools"},
}
OUR_NAMES = {name.removesuffix(".py") for name in ALLOWED} | {"tests"}
MOST_LINES = 320


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    """The first part of every imported module's name, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("place", ALLOWED)
def test_a_folder_imports_only_what_is_below_it(place: str) -> None:
    for path in python_files(place):
        own = place.removesuffix(".py")
        illegal = set(imported_names(path)) & OUR_NAMES - ALLOWED[place] - {own}
        assert not illegal, f"{path.relative_to(ROOT)} imports {sorted(illegal)}"


def test_the_import_check_sees_every_kind_of_import(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import a.b\nfrom c.d import e\ndef f():\n    import g as h, i\n    from . import j\n")
    assert list(imported_names(file)) == ["a", "c", "g", "i"]


@pytest.mark.parametrize("place", [*ALLOWED, "tests"])
def test_no_file_has_two_purposes(place: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files(place)
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert not long, f"over {MOST_LINES} lines: {long}"


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
