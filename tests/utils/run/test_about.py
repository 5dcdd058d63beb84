from __future__ import annotations

import subprocess
from pathlib import Path

from utils.run.about import as_json, commit


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code_is_named_and_whether_files_differ(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    assert commit(root) == ""
    git(root, "init", "-q")
    (root / "x.py").write_text("x = 1\n")
    git(root, "add", "x.py")
    git(root, "commit", "-q", "-m", "x")
    named = git(root, "rev-parse", "HEAD")
    assert commit(root) == named
    (root / "x.py").write_text("x = 2\n")
    assert commit(root) == f"{named} with changes"
    (root / "copy").mkdir()
    assert commit(root / "copy") == ""  # the commit around it says nothing about a copy


def test_whatever_is_kept_is_as_json() -> None:
    class Version(str):
        pass

    kept = as_json({"torch": Version("2.6"), "shape": (1, 2), "path": Path("x")})
    assert kept == {"torch": "2.6", "shape": [1, 2], "path": "x"} and type(kept["torch"]) is str
