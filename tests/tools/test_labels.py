from __future__ import annotations

from pathlib import Path

import pytest

from tools._labels import LabelRow, read_labels
from utils.errors import ListError


def rows(tmp_path: Path, text: str) -> list[LabelRow]:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    return read_labels(path)


@pytest.mark.parametrize(
    "text",
    [
        "a b.mp4,long jump\nc.mp4,run\n",
        "file,label\na b.mp4,long jump\nc.mp4,run\n",
        "\ufefffile,label\r\na b.mp4,long jump\r\n\r\nc.mp4,run",
        "Label;File Name\nlong jump;a b.mp4\nrun;c.mp4\n",
        "a b.mp4\tlong jump\nc.mp4\trun\n",
        "id,video,extra,class\n1,a b.mp4,x,long jump\n2,c.mp4,y,run\n",
        '"a b.mp4","long jump"\n"c.mp4","run"\n',
    ],
)
def test_the_usual_forms_are_read(text: str, tmp_path: Path) -> None:
    assert [(row.name, row.label) for row in rows(tmp_path, text)] == [("a b.mp4", "long jump"), ("c.mp4", "run")]


def test_without_a_delimiter_the_last_word_is_the_label(tmp_path: Path) -> None:
    assert [(row.name, row.label) for row in rows(tmp_path, "a b.mp4 3\nc.mp4 0\n")] == [
        ("a b.mp4", "3"),
        ("c.mp4", "0"),
    ]


def test_seconds_and_split_come_from_a_header(tmp_path: Path) -> None:
    text = "video_id,label,time_start,time_end,split\na,run,1.5,3,Train\nb,run,,,val\n"
    assert rows(tmp_path, text) == [
        LabelRow("a", "run", 1.5, 3.0, "train", 2),
        LabelRow("b", "run", None, None, "val", 3),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("file,label\n", "no rows"),
        ("a,b,c\n", ":1: 3 columns and no header"),
        ("a,x\nb\n", ":2: 1 columns"),
        ("a,x\n,y\n", ":2: the file is empty"),
        ("a,x\nb,\n", ":2: the label is empty"),
        ("file,label,start,end\na,x,2,1\n", ":2: start 2.0 and end 1.0"),
        ("file,label,start,end\na,x,2,\n", ":2: start 2.0 and end None"),
        ("file,label,start,end\na,x,two,3\n", ":2: start 'two' is not a number"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ListError) as error:
        rows(tmp_path, text)
    assert said in str(error.value) and str(tmp_path / "labels.csv") in str(error.value)


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("x.csv", "missing.csv"):
        with pytest.raises(ListError, match=name):
            read_labels(tmp_path / name)
