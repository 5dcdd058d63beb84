"""Files that other programs read: the citation and the container recipe say what the project says."""

from __future__ import annotations

import re

import yaml

from tests.helpers.requirements import ROOT


def test_the_citation_has_the_version_and_the_name_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
    assert f'description = "{citation["abstract"]}"' in project
    assert (ROOT / "README.md").read_text().startswith(f"# {citation['title']}\n")


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
