from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.class_names import find_classes
from utils.errors import ListError


def names(source: Path, *, root: Path = Path("/"), file: Path | None = None) -> list[str] | None:
    classes = find_classes([(source, root)], file=file)
    return None if classes is None else classes.names


@pytest.mark.parametrize("name", ["classInd.txt", "calssInd.txt"])
@pytest.mark.parametrize(
    "text", ["0 a b\n1 c\n", "1 a b\n2 c\n", "a b\nc\n", "2,c\r\n1,a b\r\n", "\ufeff0 a b\n\n1 c", "0\ta b\n1\tc"]
)
@pytest.mark.parametrize("folder", ["sets", "root/lists"])
def test_names_are_found_and_read_in_every_form(tmp_path: Path, name: str, text: str, folder: str):
    for each in ("sets", "root/lists"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / folder / name).write_bytes(text.encode())
    assert names(tmp_path / "sets/train.txt", root=tmp_path / "root") == ["a b", "c"]


def test_the_file_beside_the_list_comes_first(tmp_path: Path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/classInd.txt").write_text("root\n")
    (tmp_path / "classInd.txt").write_text("near\n")
    assert names(tmp_path / "train.txt", root=tmp_path) == ["near"]
    assert names(tmp_path / "train.txt", root=tmp_path, file=tmp_path / "lists/classInd.txt") == ["root"]


def test_no_class_file_is_no_error(tmp_path: Path):
    assert names(tmp_path / "train.txt", root=tmp_path) is None


def test_names_may_begin_or_end_with_numbers(tmp_path: Path):
    (tmp_path / "classInd.txt").write_text("2 hand tool\n100 metres\nrun\njump 3\nwalk\n")
    assert names(tmp_path / "t.txt", root=tmp_path) == ["2 hand tool", "100 metres", "run", "jump 3", "walk"]


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
        ("0 a\n1 b\n" + "9" * 5000 + " c\n", "classInd.txt:3: expected `index name`"),
        ("a 0\nb 1\n", "looks like `name index`"),
        ("0 a\n1 b\n2 c\n", "names 3 classes, but model.num_class is 2"),
    ],
)
def test_anything_wrong_is_one_clear_error(tmp_path: Path, text: str, message: str):
    (tmp_path / "classInd.txt").write_text(text)
    with pytest.raises(ListError, match=message):
        if (classes := find_classes([(tmp_path / "train.txt", tmp_path)])) is not None:
            classes.check(2)


def test_two_files_that_differ(tmp_path: Path):
    (tmp_path / "classInd.txt").write_text("0 a\n1 b\n")
    (tmp_path / "calssInd.txt").write_text("1 a\n2 b\n")
    assert names(tmp_path / "train.txt", root=tmp_path) == ["a", "b"]
    (tmp_path / "calssInd.txt").write_text("0 b\n1 a\n")
    with pytest.raises(ListError, match=r"classInd.txt and .*calssInd.txt differ"):
        names(tmp_path / "train.txt", root=tmp_path)


def test_a_named_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ListError, match="no such class file"):
        names(tmp_path / "train.txt", file=tmp_path / "gone.txt")


def test_lists_of_one_experiment_share_one_class_file(tmp_path: Path):
    lists = [(tmp_path / side / "list.txt", tmp_path) for side in ("train", "val")]
    for side, text in (("train", "0 a\n1 b\n"), ("val", "1 a\n2 b\n")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "classInd.txt").write_text(text)
    found = find_classes(lists)
    assert found is not None and found.names == ["a", "b"] and found.source.parent.name == "train"
    (tmp_path / "val/classInd.txt").write_text("0 b\n1 a\n")
    with pytest.raises(ListError, match=r"train/classInd.txt and .*val/classInd.txt differ, .* data.class_names"):
        find_classes(lists)
    assert find_classes(lists, file=tmp_path / "val/classInd.txt").names == ["b", "a"]
