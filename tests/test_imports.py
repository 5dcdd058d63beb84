"""The shape of the house: who may import whom, how long a file may be, and that every tool can be started."""

from __future__ import annotations

import ast
import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
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
MOST_LINES = 400
PROGRAMS = [
    path.relative_to(ROOT)
    for folder in ("tools", "anal_tools")
    for path in sorted((ROOT / folder).glob("[a-z]*.py"))
    if "__main__" in path.read_text()
]


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
