"""Label files that cannot be read, or not wholly: each says where and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datasets.spans.files import read_labels, read_spans
from tests.datasets.spans.examples import EXAMPLES, video
from utils.errors import ListError

# what JSON may have in place of the number of a frame, and how messages show it
NO_FRAMES = {
    **{'"x"': "'x'", '"1,5"': "'1,5'", "1.5": "1.5", "[1]": "[1]"},
    **{"true": "True", "null": "None", "NaN": "nan"},
}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"a": 1}', "has no known format; looked for csv .*vtt"),
        ("x.txt", "hello\n", "has no known format"),
        ("x.json", '{"a": ', "begins like JSON but cannot be read as such"),
        ("x.json", "[" * 100_000, "begins like JSON but cannot be read as such"),
        ("x.xml", "<annotations><a>", "begins like XML but cannot be read as such"),
        ("x.csv", "", "is empty"),
        ("x.csv", "a\0b", "is not a text file"),
        ("x.csv", "video,label,start,end\na.mp4,x,1\n", "x.csv:2: has 3 columns, but the first line has 4"),
        ("x.csv", "video,label,start,end\na.mp4,x,1,5,2,5\n", "x.csv:2: has 6 columns, .*write numbers with a point"),
        ("x.csv", "video,label,start,end\na.mp4,x,00:75:01,1:80:00\n", "x.csv:2: start '00:75:01' is not a time"),
        ("x.csv", "video,label,start,end\na.mp4,x,0:10,0:61\n", "x.csv:2: end '0:61' is not a time"),
        ("x.csv", "video,label,start,end\na.mp4,,1,2\n", "x.csv:2: the label is ''; every span needs"),
        (
            "x.csv",
            "video,label,start_frame,end_frame,fps\na.mp4,x,1,2.5,9\n",
            "x.csv:2: '2.5' is not the number of a frame",
        ),
        ("x.csv", "video,label,start,end,score\na.mp4,x,1,2,high\n", "x.csv:2: score 'high' is not a number"),
        (
            "x.json",
            '{"database": {"a": {"annotations": [{"segment": [1], "label": "x"}]}}}',
            "x.json: a: has an unexpected",
        ),
        (
            "x.json",
            '{"results": {"a": [{"segment": "12", "label": "x", "score": 1}]}}',
            "x.json: a: .*'12' is no list of",
        ),
        ("x.json", '{"labels": {"a": [{"timestamps": "12", "label": "x"}]}}', "x.json: a: .*'12' is no list of"),
        (
            "x.json",
            f'{{"results": {{"a": [{{"segment": [0, {10**400}], "label": "x"}}]}}}}',
            "x.json: a: end 10+... is not a time",
        ),
        ("x.json", '{"database": {"a": {}, "b": {}, "a": {}}}', "x.json: 'a' is there twice in one object"),
        (
            "x.json",
            EXAMPLES["label_studio"].text.replace("true", "false"),
            "task 7: has 2 annotations; mark one of them",
        ),
        (
            "x.json",
            EXAMPLES["label_studio_sound"].text.replace('["Clap"]', "[]"),
            "task 1, region w: the label is None; every span",
        ),
        (
            "x.json",
            EXAMPLES["label_studio"].text.replace('["Run"]', "[]").replace('{"video"', '{"fps": 9, "video"'),
            "region Tx9: the label is None; every span",
        ),
        (
            "x.xml",
            EXAMPLES["cvat"].text.replace('frame="75"', 'frame="x"'),
            "track 0: 'x' is not the number of a frame",
        ),
        (
            "x.xml",
            EXAMPLES["cvat"].text.replace('frame="50"', 'frame="120"'),
            "track 0: its box of frame 75 comes after that of frame 120; put them in order",
        ),
        ("x.xml", EXAMPLES["cvat_tags"].text.replace('id="10"', 'id=""'), "tag run, image: '' is not the number"),
        ("x.xml", EXAMPLES["elan"].text.replace('"4125"', '"4,5"'), "time slot ts4: the time '4,5' is not a number"),
        ("x.xml", EXAMPLES["elan"].text.replace('"4125"', '""'), "time slot ts4: the time is empty"),
        ("x.xml", EXAMPLES["elan"].text.replace("milliseconds", "PAL-frames"), "its times are PAL-frames"),
        (
            "x.xml",
            EXAMPLES["elan"].text.replace('REF="a3"', 'REF="a9"'),
            "annotation a4 refers to one that is not there",
        ),
        ("C_val.txt", "a 1 2\nb 1 2\n" + "c" * 9999 + "\n", "C_val.txt:3: 'c{76}\\.\\.\\. is not `video start end`"),
        ("Walk.txt", "a 1 2 0.5\nb 1 2 0.5\n", "Walk.txt:1: 'a 1 2 0.5' is not `video start end`: a number behind"),
        ("x.csv", f"video,label,start,{'end' * 50_000}\n", "x.csv: its first line cannot be read as that of a table"),
        ("x.csv", "video,label,start,end\na.mp4,x,1_5,20\n", "x.csv:2: start '1_5' is not a time"),
        ("x.csv", "video,label,start,end,score\na.mp4,x,1,2,1_5\n", "x.csv:2: score '1_5' is not a number"),
        ("x.csv", "video,label,start_frame,end_frame,fps\na.mp4,x,1_0,20,9\n", "'1_0' is not the number of a frame"),
        (
            "x.csv",
            "video,label,frame_start,frame_end,fps\na.mp4,x,1,2,9\n",
            "frames counted from 0, end_frame the first",
        ),
        ("x.srt", "1\n00:00:01,000 --> 00:00:02,500\nrun\nand jump\n", "x.srt:2: a cue must have one line"),
        ("gym99_train_element.txt", EXAMPLES["finegym_elements"].text, "put finegym_annotation_info_v1.1.json"),
        *(
            (
                "x.json",
                EXAMPLES[form].text.replace(frame, value, 1),
                f": {re.escape(shown)} is not the number of a frame; write a whole number; python",
            )
            for form, frame in (("label_studio", "26"), ("label_studio_short", "11"), ("fiftyone", "11"))
            for value, shown in NO_FRAMES.items()
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ListError, match=message):
        read_spans([tmp_path / name], fps=25)


def test_frames_without_a_rate_ask_for_one(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("video,label,start_frame,end_frame\na.mp4,x,1,2\n")
    with pytest.raises(ListError, match="give --videos, the folder of the videos, or --fps"):
        read_spans([tmp_path / "x.csv"])


def test_times_with_commas_in_the_lines_of_thumos_are_mended(tmp_path: Path) -> None:
    (tmp_path / "Walk_val.txt").write_text("a b 1,5 2,25\nc 3 4\n")
    labels = read_labels([tmp_path / "Walk_val.txt"])
    assert [(video.name, span.start, span.end) for video in labels.table.videos for span in video.spans] == [
        ("a b", 1.5, 2.25),
        ("c", 3.0, 4.0),
    ]
    assert [fault.fix for fault in labels.faults] == ["the comma is read as a point"] * 2


def test_empty_cells_behind_the_header_are_what_spreadsheets_write(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("video,label,start,end\na.mp4,x,1,2,,\n")
    assert read_spans([tmp_path / "x.csv"]).videos == (video("a.mp4", (1.0, 2.0, "x")),)


def test_xml_that_defines_entities_is_refused_before_they_grow(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(30))
    for inside in (entities, '<!ENTITY a30 SYSTEM "file:///etc/passwd">'):
        path = tmp_path / "bomb.eaf"
        path.write_text(f"<!DOCTYPE x [{inside}]><ANNOTATION_DOCUMENT>&a30;</ANNOTATION_DOCUMENT>")
        with pytest.raises(ListError, match="has a DOCTYPE"):
            read_spans([path])


def test_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("video,label,start,end\n", encoding="utf-16")
    with pytest.raises(ListError, match="is UTF-16 text; save it as UTF-8"):
        read_spans([tmp_path / "x.csv"])
