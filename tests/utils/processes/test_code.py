"""All ranks must run the same code, and "the same" must not be a comparison of nothing with nothing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from utils.files import ROOT
from utils.processes import session

FOLDERS = ("methods", "networks", "datasets", "utils")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a run consists of, elsewhere."""
    shutil.copy(ROOT / "main.py", tmp_path)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_digest_is_not_that_of_nothing_and_is_the_same_anywhere(copy: Path) -> None:
    digest = session.code_digest()
    assert not hashlib.sha256().hexdigest().startswith(digest) and len(digest) == 16
    assert session.code_digest(copy) == digest


@pytest.mark.alike
@pytest.mark.parametrize("place", ["main.py", *FOLDERS])
def test_one_byte_of_any_file_changes_the_digest(copy: Path, place: str) -> None:
    digest = session.code_digest(copy)
    files = [copy / place] if place == "main.py" else sorted((copy / place).rglob("*.py"))
    assert len(files) > 4 or place == "main.py"
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        assert session.code_digest(copy) != digest, file
        file.write_bytes(content)
    assert session.code_digest(copy) == digest


def test_a_file_more_less_or_elsewhere_changes_the_digest(copy: Path) -> None:
    digests = {session.code_digest(copy)}
    (copy / "utils" / "new.py").write_text("x = 1\n")
    digests.add(session.code_digest(copy))
    (copy / "utils" / "new.py").rename(copy / "methods" / "new.py")
    digests.add(session.code_digest(copy))
    (copy / "utils" / "errors.py").unlink()
    digests.add(session.code_digest(copy))
    assert len(digests) == 4


@pytest.mark.parametrize("place", ["main.py", *FOLDERS])
def test_a_place_that_is_not_there_is_an_error(copy: Path, place: str) -> None:
    (copy / place).rename(copy / "gone")
    with pytest.raises(FileNotFoundError, match=place):
        session.code_digest(copy)
