"""Tests lists of label sets: lines such as `path num_frames 3;7;12`."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.lists import parser as list_parser
from datasets.lists.records import RecordList, read_list
from datasets.lists.tables import read_videos
from utils.errors import ListError
from utils.scoring.label_sets import labels_to_text

SETS = ("num_frames", "labels")


def records_of(tmp_path: Path, text: str, **kwargs: object) -> RecordList:
    source = tmp_path / "train.txt"
    source.write_text(text)
    return read_list(source, **{"columns": SETS, "num_class": 20} | kwargs)  # type: ignore[arg-type]


def rows(records: RecordList) -> list[tuple[str, int, list[int]]]:
    sets = (np.flatnonzero(records.labels[index]).tolist() for index in range(len(records)))
    return [(records.path(i), int(records.num_frames[i]), labels) for i, labels in enumerate(sets)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a/b 10 3;7;12", ("a/b", 10, [3, 7, 12])),
        ("a/b 10 3", ("a/b", 10, [3])),
        ("a/b 10 -", ("a/b", 10, [])),
        ("a/b,10,12;3", ("a/b", 10, [3, 12])),
        ('"a, b",10,"3;7"', ("a, b", 10, [3, 7])),
        ("playing guitar, loud\t10\t3;7\r", ("playing guitar, loud", 10, [3, 7])),
        ("a;b 3;4 10 3;7", ("a;b 3;4", 10, [3, 7])),
        ("v 7 10 3;7", ("v 7", 10, [3, 7])),
        ("0007,10,3", ("0007", 10, [3])),
        ('"v 7",10,3', ("v 7", 10, [3])),
    ],
)
def test_a_set_is_read_whatever_separates_the_columns(tmp_path: Path, line: str, expected: tuple[str, int, list[int]]):
    assert rows(records_of(tmp_path, line + "\n")) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a 1 0\nb 0 3 7 0 3\n",
            r"'b 0 3 7' has 0 frames; .*; if the numbers behind its name are classes, write them as",
        ),
        ("a 1 0\nb 5 3,7\n", r"train.txt:2: a comma separates columns in 'b 5 3,7'; write several classes as 3;7;12"),
        ("a 1 0\nb 5 3,7,12\n", r"train.txt:2: a comma separates columns in 'b 5 3,7,12'"),
        ("a 1 0\nb 5 3,7,12,14\n", r"train.txt:2: .*a comma separates columns"),
        ("a 1 0\nb 5 3;\n", r"train.txt:2: labels '3;' is neither whole numbers with ';' between them nor '-'"),
        ("a 1 0\nb 5 3;x\n", r"train.txt:2: labels '3;x'"),
        ("a 1 0\nb 5 --\n", r"train.txt:2: labels '--'"),
        ("a 1 0\nb 5 -1\n", r"train.txt:2: label -1 is negative"),
        ("a 1 0\nb 5 3;20\n", r"train.txt:2: label 20 is outside num_class 20: labels must be 0..19; raise"),
        ("a 1 2;1\nb 5 3;1;3\n", r"train.txt:2: label 3 is given twice"),
        ("a 1 -\nb 5\n", r"train.txt:2: expected `path num_frames labels`, found 2 columns in 'b 5'"),
        ("path num_frames labels\na 1 0\n", r"train.txt:1: looks like a header"),
    ],
)
def test_anything_wrong_is_one_line_with_file_and_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(ListError, match=message):
        records_of(tmp_path, text)


def test_minus_one_is_an_unknown_set(tmp_path: Path):
    records = records_of(tmp_path, "a 1 -1\nb 5 -\nc 2 3;7\n", unlabelled=True)
    assert records.labels.known.tolist() == [False, True, True]
    assert set(records.labels[0].tolist()) == {-1} and set(records.labels[1].tolist()) == {0}
    with pytest.raises(
        ListError,
        match=r"train.txt:2: label -1 means that the classes are unknown, so the video cannot have other labels",
    ):
        records_of(tmp_path, "a 1 -1\nb 5 3;-1\n", unlabelled=True)
    with pytest.raises(ListError, match=r"train.txt:2: label -2 is negative; labels count from 0$"):
        records_of(tmp_path, "a 1 -1\nb 5 -2\n", unlabelled=True)


def test_a_list_of_sets_asks_for_its_key_where_one_class_is_expected(tmp_path: Path):
    with pytest.raises(ListError, match=r"train.txt:2: '1;2' is a set of classes in 'b 5 1;2'; .*multi_label: True"):
        records_of(tmp_path, "a 1 0\nb 5 1;2\n", columns=("num_frames", "label"))


LINES = st.tuples(
    st.text("ab ;,1é", min_size=1, max_size=8).map(lambda text: f"x{text}y"),
    st.integers(1, 999),
    st.lists(st.integers(0, 19), max_size=4, unique=True),
)


@pytest.mark.whole
@settings(max_examples=60)
@given(st.lists(LINES, min_size=1, max_size=12), st.sampled_from([" ", "\t", ",", ", "]), st.integers(8, 64))
def test_what_is_written_is_read_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory,
    videos: list[tuple[str, int, list[int]]],
    separator: str,
    block: int,
):
    text = "".join(f"{path}{separator}{count}{separator}{labels_to_text(labels)}\n" for path, count, labels in videos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_parser, "_BLOCK", block)
        found = rows(records_of(tmp_path_factory.mktemp("list"), text))
    assert found == [(path, count, sorted(labels)) for path, count, labels in videos]


@pytest.mark.parametrize("cached", [False, True])
def test_sets_are_flat_arrays_that_travel_to_a_spawned_worker(tmp_path: Path, cached: bool):
    text = "".join(f"video {i} {i % 9 + 1} {labels_to_text(range(i % 4))}\n" for i in range(5000))
    for _ in range(2):  # the second time from the cache
        records = records_of(tmp_path, text, cache_folder=tmp_path / "cache" if cached else None)
        assert len(records) == 5000 and records.labels.flat.dtype == np.int32
        assert records.labels.sizes[:5].tolist() == [0, 1, 2, 3, 0] and records.labels[3].shape == (20,)
    data = pickle.dumps(records)
    assert rows(pickle.loads(data)) == rows(records) and (not cached or len(data) < 1000)


def test_a_csv_of_videos_may_name_several_classes_in_a_cell_or_in_rows(tmp_path: Path):
    source = tmp_path / "train.csv"
    source.write_text("path,label\na.mp4,run;jump\nb.mp4,-\na.mp4,swim\nc.mp4,jump\n")
    records, names = read_videos(source, root=tmp_path, num_class=3, multi_label=True)
    assert names == ["jump", "run", "swim"]
    assert rows(records) == [("a.mp4", 0, [0, 1, 2]), ("b.mp4", 0, []), ("c.mp4", 0, [0])]
