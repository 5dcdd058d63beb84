"""Tests that lists find their files and classes whichever form of Unicode they and the disk use."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from datasets.lists.class_names import read_class_file
from datasets.lists.records import read_list
from datasets.lists.spelling import Spelling, as_on_disk
from datasets.lists.tables import read_videos
from tests.tools.test_make_lists import frames, lines, make
from utils.errors import ListError

COMPOSED = unicodedata.normalize("NFC", "caf\u00e9")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(("listed", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_paths_are_spelled_as_on_the_disk(tmp_path: Path, listed: str, there: str) -> None:
    (tmp_path / "root" / there / f"{there} 1").mkdir(parents=True)
    (tmp_path / "list.txt").write_text(f"plain 3 0\n{listed}/{there} 1 3 0\n{listed}/gone 4 1\n")
    records = as_on_disk(read_list(tmp_path / "list.txt", root=tmp_path / "root"))
    assert [records.path(place) for place in range(3)] == ["plain", f"{there}/{there} 1", f"{listed}/gone"]
    assert records.num_frames.tolist() == [3, 3, 4] and records.where(2).endswith("list.txt:3")
    assert Spelling("/").of(str(tmp_path / "root" / listed)) == str(tmp_path / "root" / there)


def test_an_exact_name_comes_first_where_a_folder_has_both(tmp_path: Path) -> None:
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / name).mkdir()
    assert [Spelling(tmp_path).of(name) for name in (COMPOSED, DECOMPOSED)] == [COMPOSED, DECOMPOSED]


def test_both_forms_of_a_class_name_are_one_class(tmp_path: Path) -> None:
    (tmp_path / "videos" / DECOMPOSED).mkdir(parents=True)
    (tmp_path / "videos" / DECOMPOSED / "a.mp4").touch()
    (tmp_path / "t.csv").write_text(f"path,label\na.mp4,{COMPOSED}\nb.mp4,{DECOMPOSED}\nc.mp4,tea\n")
    records, names = read_videos(tmp_path / "t.csv", root=tmp_path)
    assert names == [COMPOSED, "tea"] and records.labels.tolist() == [0, 0, 1]
    assert read_videos(tmp_path / "videos")[1] == [COMPOSED]
    (tmp_path / "classInd.txt").write_text(f"0 tea\n1 {DECOMPOSED}\n")
    assert read_class_file(tmp_path / "classInd.txt") == ["tea", COMPOSED]
    assert read_videos(tmp_path / "t.csv", root=tmp_path)[0].labels.tolist() == [1, 1, 0]


def test_make_lists_matches_both_forms(tmp_path: Path) -> None:
    for number in range(2):
        frames(tmp_path / "frames" / f"{DECOMPOSED}{number}", 1)
    table = f"file,label,split\n{COMPOSED}0.mp4,{COMPOSED},train\nsub\\{COMPOSED}1.mp4,{DECOMPOSED},val\n"
    (tmp_path / "t.csv").write_text(table)
    make(tmp_path, "--csv", tmp_path / "t.csv")
    assert lines(tmp_path / "lists/classInd.txt") == [f"0 {COMPOSED}"]
    assert lines(tmp_path / "lists/val.txt") == [f"frames/{DECOMPOSED}1 1 0"]


def test_backslashes_are_named(tmp_path: Path) -> None:
    (tmp_path / "run/a").mkdir(parents=True)
    (tmp_path / "list.txt").write_text("run\\a 3 0\nrun\\gone 3 0\n")
    with pytest.raises(ListError, match=r"list.txt:1: .*separates folders by backslashes.*write 'run/a'"):
        as_on_disk(read_list(tmp_path / "list.txt", root=tmp_path))
    (tmp_path / "run\\a").mkdir()
    assert len(as_on_disk(read_list(tmp_path / "list.txt", root=tmp_path))) == 2
