from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.listing.labels import LabelRow, read_labels
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


def test_lists_of_other_projects_are_read(tmp_path: Path) -> None:
    text = "some video.mp4 3\nclips/a b 300 5\n"  # mmaction2's and PySlowFast's videos, mmaction2's and TSM's frames
    assert [(row.name, row.label) for row in rows(tmp_path, text)] == [("some video.mp4", "3"), ("clips/a b", "5")]


def test_a_file_name_says_the_split(tmp_path: Path) -> None:
    for name, split in (
        ("jester-v1-train.csv", "train"),
        ("something-something-v1-validation.csv", "val"),
        ("val_list.txt", "val"),
        ("trainers.csv", ""),
    ):
        (tmp_path / name).write_text("1;Swiping Left\n")
        assert read_labels(tmp_path / name) == [LabelRow("1", "Swiping Left", None, None, split, 1)]


def test_json_of_activitynet_kinetics_and_something_something(tmp_path: Path) -> None:
    shapes: dict[str, Any] = {
        "activity_net.json": {
            "version": "1.3",
            "database": {
                "abc": {
                    "subset": "training",
                    "annotations": [
                        {"segment": [1.5, 3], "label": "Surfing"},
                        {"segment": [9, 10.25], "label": "Surfing"},
                    ],
                },
                "test": {"subset": "testing", "annotations": []},
            },
        },
        "kinetics.json": {"xyz": {"subset": "validate", "annotations": {"label": "yoga", "segment": [10.0, 20.0]}}},
        "something-something-v2-train.json": [
            {
                "id": "78687",
                "label": "holding potato next to vicks",
                "template": "Holding [something] next to [something]",
            },
            {"id": "1"},
        ],
    }
    expected = {
        "activity_net.json": [
            ("abc", "Surfing", 1.5, 3.0, "training"),
            ("abc", "Surfing", 9.0, 10.25, "training"),
            ("test", "", None, None, "testing"),
        ],
        "kinetics.json": [("xyz", "yoga", 10.0, 20.0, "validate")],
        "something-something-v2-train.json": [
            ("78687", "Holding something next to something", None, None, "train"),
            ("1", "", None, None, "train"),
        ],
    }
    for name, content in shapes.items():
        (tmp_path / name).write_text(json.dumps(content))
        found = [(row.name, row.label, row.start, row.end, row.split) for row in read_labels(tmp_path / name)]
        assert found == expected[name]


def test_the_json_of_diving48_keeps_its_numbers(tmp_path: Path) -> None:
    entry = {"vid_name": "8mSuUZ-3NXM_00053", "label": 26, "start_frame": 0, "end_frame": 104}
    (tmp_path / "Diving48_V2_train.json").write_text(json.dumps([entry]))
    said: list[str] = []
    assert read_labels(tmp_path / "Diving48_V2_train.json", note=said.append) == [
        LabelRow("8mSuUZ-3NXM_00053", "26", None, None, "train", 1)
    ]
    assert not said


def test_fields_that_nobody_knows_are_named_wherever_they_stand(tmp_path: Path) -> None:
    annotation = {"label": "x", "segment": [0, 1], "certainty": 0.4}
    (tmp_path / "x.json").write_text(json.dumps({"a": {"subset": "training", "annotations": [annotation], "mood": 1}}))
    said: list[str] = []
    read_labels(tmp_path / "x.json", note=said.append)
    assert said == [f"{tmp_path / 'x.json'}: not read: certainty, mood"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "begins like JSON but cannot be read as such"),
        ("3", "neither a list"),
        ("[]", "no video in it"),
        ("[1]", "entry '0': has an unexpected form (ValueError: 1 has no fields)"),
        ('[{"template": "x"}]', "none of its fields (template) is id, frame_dir, filename or vid_name"),
        ('{"a": {"subset": "training", "annotations": [{"label": "x"}]}}', "entry 'a': has an unexpected form"),
        ('{"a": {"annotations": []}, "a": {"annotations": []}}', "'a' is there twice in one object"),
    ],
)
def test_json_of_another_shape_is_an_error_that_names_the_entry(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ListError) as error:
        read_labels(tmp_path / "x.json")
    assert said in str(error.value) and "x.json" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("file,label\n", "no rows"),
        ("a,b,c\n", ":1: 3 columns and no header"),
        ("file,label\na, b.mp4,run\n", ":2: has 3 columns, but the first line has 2; put double quotes"),
        ("a.mp4,run\na, b.mp4,run\n", ":2: has 3 columns, but the first line has 2"),
        ("a,x\nb\n", ":2: has 1 columns"),
        ("a,x\n,y\n", ":2: the file is empty"),
        ("a,x\nb,\n", ":2: the label is empty"),
        ("file,label,start,end\na,x,2,1\n", ":2: start 2.0 and end 1.0"),
        ("file,label,start,end\na,x,2,\n", ":2: start 2.0 and end None"),
        ("file,label,start,end\na,x,two,3\n", ":2: start 'two' is not a number"),
        ("file,label,start_frame,stop_frame\na,x,1,3\n", ":1: 'start_frame' and 'stop_frame' seem to say which part"),
        (f"file,label\na,x\nb,{'y' * 200_000}\n", ":3: cannot be read as a table (field larger than"),
        ("file,label\na,1.5\n", ":2: label 1.5 is not a whole number"),
        ("video_id,verb_class,noun_class\na,1,2\n", ":1: the header names no label column; found video_id, verb_class"),
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
