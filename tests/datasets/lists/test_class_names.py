from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.class_names import read_class_names
from utils.errors import ListError


@pytest.mark.parametrize("name", ["classInd.txt", "calssInd.txt"])
@pytest.mark.parametrize(
    "text", ["0 a b\n1 c\n", "1 a b\n2 c\n", "a b\nc\n", "2,c\r\n1,a b\r\n", "\ufeff0 a b\n\n1 c", "0\ta b\n1\tc"]
)
@pytest.mark.parametrize("folder", ["sets", "root/lists"])
def test_names_are_found_and_read_in_every_form(tmp_path: Path, name: str, text: str, folder: str):
    for each in ("sets", "root/lists"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / folder / name).write_bytes(text.encode())
    assert read_class_names(tmp_path / "sets/train.txt", root=tmp_path / "root", num_class=2) == ["a b", "c"]


def test_the_file_beside_the_list_comes_first(tmp_path: Path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/classInd.txt").write_text("root\n")
    (tmp_path / "classInd.txt").write_text("near\n")
    assert read_class_names(tmp_path / "train.txt", root=tmp_path) == ["near"]
    assert read_class_names(tmp_path / "train.txt", root=tmp_path, path=tmp_path / "lists/classInd.txt") == ["root"]


def test_no_class_file_is_no_error(tmp_path: Path):
    assert read_class_names(tmp_path / "train.txt", root=tmp_path) is None


def test_names_may_begin_or_end_with_numbers(tmp_path: Path):
    (tmp_path / "classInd.txt").write_text("2 hand tool\n100 metres\nrun\njump 3\nwalk\n")
    assert read_class_names(tmp_path / "t.txt", root=tmp_path) == ["2 hand tool", "100 metres", "run", "jump 3", "walk"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "classInd.txt: the class file is empty"),
        ("0 a\n2 b\n", "classInd.txt: index 1 has no name"),
        ("5 a\n6 b\n", "indices begin at 5"),
        ("0 a\n1 b\n1 c\n", "classInd.txt:3: index 1 is 'c' here and 'b' on line 2"),
        ("0 a\n1 a\n", "class 'a' is already on line"),
        ("a\na\n", "classInd.txt:2: class 'a' is already on line 1"),
        ("0 a\n1 b\nc\n", "classInd.txt:3: expected `index name`"),
        ("a 0\nb 1\n", "looks like `name index`"),
        ("0 a\n1 b\n2 c\n", "names 3 classes, but model.num_class is 2"),
    ],
)
def test_anything_wrong_is_one_clear_error(tmp_path: Path, text: str, message: str):
    (tmp_path / "classInd.txt").write_text(text)
    with pytest.raises(ListError, match=message):
        read_class_names(tmp_path / "train.txt", root=tmp_path, num_class=2)


def test_two_files_that_differ(tmp_path: Path):
    (tmp_path / "classInd.txt").write_text("0 a\n1 b\n")
    (tmp_path / "calssInd.txt").write_text("1 a\n2 b\n")
    assert read_class_names(tmp_path / "train.txt", root=tmp_path) == ["a", "b"]
    (tmp_path / "calssInd.txt").write_text("0 b\n1 a\n")
    with pytest.raises(ListError, match=r"classInd.txt and .*calssInd.txt differ"):
        read_class_names(tmp_path / "train.txt", root=tmp_path)


def test_a_named_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ListError, match="no such class file"):
        read_class_names(tmp_path / "train.txt", path=tmp_path / "gone.txt")
