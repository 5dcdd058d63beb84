"""Files that other programs read: the citation, the packaging and the container recipe say what the project says."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from tests.helpers.requirements import ROOT
from utils.run.checkpoint import BEFORE, BEST, NEWEST
from utils.run.folder import DAMAGED, METRICS, RUNS
from utils.scoring.result_files import LINES, SCORES, TEXT


def test_the_citation_has_the_version_and_the_name_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
    assert f'description = "{citation["abstract"]}"' in project
    assert (ROOT / "README.md").read_text().startswith(f"# {citation['title']}\n")


def test_git_ignores_what_a_run_writes_into_its_folder() -> None:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    patterns = [line.removeprefix("exps/**/") for line in lines if line.startswith("exps/**/")]
    for name in ("log.txt", METRICS, DAMAGED, RUNS, NEWEST, BEFORE, BEST, LINES, SCORES, TEXT):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_pip_installs_the_dependencies_and_nothing_else(tmp_path: Path) -> None:
    """What `pip install -e .` asks setuptools for, on a copy in which our folders could be found."""
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "pyproject.toml", ROOT / "main.py"):
        shutil.copy(path, tmp_path)
    for folder in ("utils", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, "wheels"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    (installed,) = importlib.metadata.distributions(path=[str(tmp_path / "installed")])
    assert (installed.read_text("top_level.txt") or "").strip() == ""
    found = {extra: set[str]() for extra in ("", "extras", "dev")}
    for requirement in map(Requirement, installed.requires or []):
        found[str(requirement.marker or "").split('"')[-2] if requirement.marker else ""].add(_written(requirement))
    assert found == {
        "": _requirements("requirements.txt"),
        "extras": _requirements("requirements-extras.txt"),
        "dev": _requirements("requirements-dev.txt"),
    }


def _written(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _requirements(name: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {_written(Requirement(line)) for line in lines if line}


def test_the_container_copies_files_that_are_there_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY req") for name in line.split()[1:-1]]
    assert copied and all((ROOT / name).is_file() for name in copied)
    install = next(line for line in lines if line.startswith("RUN python -m pip install"))
    assert set(re.findall(r"-r (\S+)", install)) == set(copied)
    assert [line for line in lines if line.startswith("USER")] == ["USER $UID"]
    assert lines.index("USER $UID") < next(n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_the_container_runs_a_python_that_the_project_supports() -> None:
    version = re.search(r"^FROM python:3\.(\d+)-slim$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    oldest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert version and oldest and int(version[1]) >= int(oldest[1])
