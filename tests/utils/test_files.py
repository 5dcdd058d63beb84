"""Tests the walk through folders that all tools share, and where files can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import check_place, find_files, no_pipe, walk, whole_folder


def test_a_walk_follows_links_but_no_loop_and_leaves_hidden_names_out(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "a/deep/er/y.MP4", "a/._x.mp4", ".hidden/z.mp4", "a/notes.txt"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/far.mp4").touch()
    for place in ("root/b", "root/c"):  # one folder that is linked twice is there twice
        (tmp_path / place).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "root/a/deep/up").symlink_to(tmp_path / "root", target_is_directory=True)
    (tmp_path / "root/b.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "root/c.mp4").symlink_to(tmp_path / "root/c.mp4")
    os.mkfifo(tmp_path / "root/pipe.mp4")
    found = [path.as_posix() for path in find_files(tmp_path / "root", {".mp4"})]
    assert found == ["b.mp4", "c.mp4", "a/x.mp4", "a/deep/er/y.MP4", "b/far.mp4", "c/far.mp4"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone: the folder cannot be read: No such file"):
        list(walk(tmp_path / "gone"))


def test_a_place_needs_its_folder_and_is_no_folder_unless_it_may_be_one(tmp_path: Path) -> None:
    check_place(tmp_path / "x.json")
    check_place(tmp_path, folder=True)
    with pytest.raises(UserError, match="is a folder; name a file"):
        check_place(tmp_path)
    for folder in (False, True):
        with pytest.raises(UserError, match=r"x\.json: its folder does not exist; create it first"):
            check_place(tmp_path / "no/x.json", folder=folder)


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    out = tmp_path / "above" / "out"
    with pytest.raises(ZeroDivisionError), whole_folder(out) as building:
        (building / "half").touch()
        raise ZeroDivisionError
    assert [*out.parent.iterdir()] == []
    out.mkdir()  # an empty one may be there
    with whole_folder(out) as building:
        (building / "all").touch()
        assert [*out.iterdir()] == []
    assert [*out.parent.iterdir()] == [out] and [*out.iterdir()] == [out / "all"]
    assert out.stat().st_mode & 0o777 == 0o755
    with pytest.raises(OSError, match="not empty"), whole_folder(out) as building:  # nothing is replaced
        (building / "other").touch()
    assert [*out.parent.iterdir()] == [out] and [*out.iterdir()] == [out / "all"]


def test_only_a_pipe_that_has_a_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe; give a file"):
        no_pipe(tmp_path / "pipe")
    assert no_pipe(tmp_path / "absent") == tmp_path / "absent"
    reader, writer = os.pipe()
    os.write(writer, b"from a shell")
    os.close(writer)
    assert no_pipe(f"/dev/fd/{reader}").read_bytes() == b"from a shell"
    os.close(reader)
