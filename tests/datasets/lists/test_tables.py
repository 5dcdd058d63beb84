"""Tests lists of encoded videos, and of parts of them given in seconds."""

from __future__ import annotations

import logging
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from datasets import VideoDataset
from datasets.lists.tables import number_classes, read_videos
from datasets.videos import index as video_index
from datasets.videos.video import between
from tests.helpers.make_video import block_position, make_video
from tests.helpers.protocol import for_testing
from utils.clip_spec import ClipSpec
from utils.errors import ListError
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

WHOLE = CutClip(TestCrops(None), (64, 96))


def test_lists_of_videos(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    for name in ("run/a b.mp4", "run/c.avi", "jump/x_000003_000013.mp4", "jump/notes.txt"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"")
    records, names = read_videos(tmp_path / "videos", num_class=2)
    found = [(records.path(i), int(records.labels[i])) for i in range(len(records))]
    assert names == ["jump", "run"]
    assert found == [("jump/x_000003_000013.mp4", 0), ("run/a b.mp4", 1), ("run/c.avi", 1)]
    assert records.full_path(1) == str(tmp_path / "videos/run/a b.mp4")
    kinetics = tmp_path / "kinetics.csv"
    kinetics.write_text("label,youtube_id,time_start,time_end,split\njump,x,3,13,train\nrun,gone,0,10,train\n")
    records, names = read_videos(kinetics, root=tmp_path / "videos")
    assert (
        names == ["jump", "run"] and records.path(0) == "jump/x_000003_000013.mp4" and records.where(0).endswith(":2")
    )
    assert "1 of 2 videos are not below" in caplog.text
    plain = tmp_path / "plain.csv"
    plain.write_text('path,label\n"run/a b.mp4",run\nrun/c.avi,run\n')
    (tmp_path / "classInd.txt").write_text("0 jump\n1 run\n")
    records, names = read_videos(plain, root=tmp_path / "videos")
    assert names == ["jump", "run"] and records.labels.tolist() == [1, 1]
    (tmp_path / "list.txt").write_text("run/a b.mp4 1\n")
    records, names = read_videos(tmp_path / "list.txt", root=tmp_path / "videos")
    assert names == ["jump", "run"] and records.path(0) == "run/a b.mp4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "video_id,mood\nx,1\n", "a.csv:1: the header must name a label column and a path column"),
        ("a.csv", "label,youtube_id,time_start,time_end\nrun,x,soon,13\n", "a.csv:2: start and end must be seconds"),
        ("a.csv", "label,youtube_id,time_start,time_end\nrun,x,1,13\n", "none of its 1 videos is below"),
        (
            "a.csv",
            "path,label\na.mp4,1\nb.mp4," + "9" * 5000 + "\n",
            "a.csv:3: label 9999.* has 5000 digits",
        ),
        ("a.csv", "path,label,start,end\na.mp4,1,1,5,2,5\n", "a.csv:2: has 6 columns, .*write numbers with a point"),
        ("a.csv", "path,label\na, b.mp4,1\n", "a.csv:2: has 3 columns, but the first line has 2; put double quotes"),
        ("a.csv", "path,label\na.mp4\n", "a.csv:2: has 1 columns, but the first line has 2; fill in"),
        ("a.csv", "path,label,start,end\na.mp4,1,00:75:01,00:76:00\n", "a.csv:2: start and end must be seconds"),
        ("a.csv", "path,label\na.mp4,7\n", "a.csv:2: label 7 is outside num_class 3: labels must be 0..2"),
        ("a.csv", "", "a.csv:1: the header must name"),
        ("a.csv", "path,label\na.mp4,1\nb\0.mp4,2\n", "a.csv:3: .*contains (the character )?NUL"),
        ("a.txt", "a.mp4 7\n", "a.txt:1: label 7 is outside num_class 3"),
        ("a.csv", "path,label\na.mp4,1\nb.mp4,2\nc.mp4,3\n", "a.csv:4: .* seems to count from 1 .tools/check_data.py"),
        (
            "a.csv",
            "video_id,start_timestamp,stop_timestamp,verb_class\nx,0,1,2\n",
            "found video_id, .*verb_class; rename",
        ),
    ],
)
def test_wrong_lists_of_videos(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ListError, match=message):
        read_videos(tmp_path / name, root=tmp_path, num_class=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ListError, match="no videos in class folders"):
        read_videos(tmp_path / "empty")


def test_a_csv_names_parts_of_videos(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=48)
    table = tmp_path / "parts.csv"
    table.write_text("path,label,start,end\na.mp4,x,0.25,0.75\na.mp4,y,1,2\na.mp4,x,,\na.mp4,x,3,4\ngone.mp4,y,0,1\n")
    records, names = read_videos(table, root=tmp_path)
    data = VideoDataset(records, for_testing(ClipSpec(4), WHOLE), cache=tmp_path / "cache")
    assert names == ["x", "y"] and data.index.num_videos == 2 and len(data) == 5
    assert [len(data.index[record]) for record in range(3)] == [12, 24, 48]
    assert data.index[0].duration == pytest.approx(0.5) and data.index[0].seconds[0] == 0
    for record, first in ((0, 6), (1, 24), (2, 0)):
        shown = [block_position(frame) for frame in data[record]["clips"][0]]
        wanted = [2 * (first + int(place)) for place in data.indices(record, None)[0]]
        assert shown == pytest.approx([place % 84 for place in wanted], abs=1)
    assert "parts.csv:5 (3 to 4 s): " in data[3]["fault"] and "a.mp4: has no frame in this span" in data[3]["fault"]
    assert "it has 48 frames, the last one at 1.96 s" in data[3]["fault"] and "no such file" in data[4]["fault"]
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again[1]["clips"], data[1]["clips"])


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(25), Fraction(30), Fraction(60), Fraction(30000, 1001)])
@pytest.mark.parametrize("tick", [Fraction(1, 12800), None])
def test_parts_hold_an_exact_number_of_frames(fps: Fraction, tick: Fraction | None, rng: np.random.Generator):
    tick = tick if tick and (1 / fps / tick).denominator == 1 else 1 / (fps * 512)  # the ticks of MP4
    stamps = np.arange(600) * int(1 / fps / tick)
    times = video_index.VideoTimes(stamps, stamps[:1], float(tick), True)
    for _ in range(30):
        start = Fraction(int(rng.integers(0, 1500)), 100)
        end = start + Fraction(int(rng.integers(1, 400)), 100)
        exact = [frame for frame in range(600) if start <= frame / fps < end]
        first, last = times.frames_between(float(start), float(end))
        assert list(range(first, last)) == exact
        shown = between(((seconds, np.empty(0)) for seconds in times.seconds.tolist()), float(start), float(end))
        assert len(list(shown)) == len(exact)


def test_videos_without_a_label_are_for_scoring_only(tmp_path: Path):
    (tmp_path / "t.csv").write_text("youtube_id,time_start,time_end\nx,3,13\n")
    (tmp_path / "x_000003_000013.mp4").write_bytes(b"")
    records, _ = read_videos(tmp_path / "t.csv", root=tmp_path, unlabelled=True)
    assert records.labels.tolist() == [-1]
    with pytest.raises(ListError, match="the header must name a label column"):
        read_videos(tmp_path / "t.csv", root=tmp_path)
    (tmp_path / "u.csv").write_text("path,label\na.mp4,\n")
    with pytest.raises(ListError, match=r"u\.csv:2: label -1 is negative.*only lists that are scored"):
        read_videos(tmp_path / "u.csv", root=tmp_path)


def test_a_span_in_frames_is_not_the_seconds_in_the_name_of_a_file(tmp_path: Path):
    for name in ("x.mp4", "x_000010_000020.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("youtube_id,label,start_frame,end_frame\nx,1,10,20\n")
    records, _ = read_videos(tmp_path / "t.csv", root=tmp_path)
    assert records.name(0) == "x.mp4#frames=10,20"


def test_a_csv_without_a_header_is_a_list(tmp_path: Path):
    for text in ("a b.mp4 1\nc.mp4 0\n", "a b.mp4,1\nc.mp4,0\n"):  # PyTorchVideo's and PySlowFast's
        (tmp_path / "train.csv").write_text(text)
        records, _ = read_videos(tmp_path / "train.csv", root=tmp_path)
        assert [records.path(0), records.path(1)] == ["a b.mp4", "c.mp4"] and records.labels.tolist() == [1, 0]


def test_one_numbering_holds_for_all_lists_of_an_experiment(tmp_path: Path):
    (tmp_path / "train.csv").write_text("path,label\na.mp4,run\nb.mp4,jump\nc.mp4,walk\n")
    (tmp_path / "val.csv").write_text("path,label\nd.mp4,walk\ne.mp4,run\n")
    for side in ("run", "jump", "walk"):
        (tmp_path / "folders/train" / side).mkdir(parents=True)
        (tmp_path / "folders/train" / side / "a.mp4").touch()
    (tmp_path / "folders/val/walk").mkdir(parents=True)
    (tmp_path / "folders/val/walk/b.mp4").touch()
    for suffix, labels in ((".csv", [2, 1]), ("", [2])):
        folder = tmp_path if suffix else tmp_path / "folders"
        lists = [(folder / f"train{suffix}", tmp_path), (folder / f"val{suffix}", tmp_path)]
        classes = number_classes(lists)
        assert classes is not None and classes.names == ["jump", "run", "walk"]
        records, names = read_videos(lists[1][0], root=tmp_path, classes=classes)
        assert records.labels.tolist() == labels and names == classes.names


def test_a_class_that_only_the_validation_list_has_is_named(tmp_path: Path):
    (tmp_path / "train.csv").write_text("path,label\na.mp4,run\n")
    (tmp_path / "val.csv").write_text("path,label\nb.mp4,run\nc.mp4,3\n")
    classes = number_classes([(tmp_path / "train.csv", tmp_path), (tmp_path / "val.csv", tmp_path)])
    with pytest.raises(ListError, match=r"val.csv:3: class '3' is not in .*train.csv, which numbers the classes"):
        read_videos(tmp_path / "val.csv", root=tmp_path, classes=classes)
    (tmp_path / "train.csv").write_text("path,label\na.mp4,0\n")
    (tmp_path / "names.csv").write_text("path,label\na.mp4,run\n")
    assert number_classes([(tmp_path / "train.csv", tmp_path), (tmp_path / "names.csv", tmp_path)]) is None


def test_numbers_are_numbers_however_they_are_written(tmp_path: Path):
    rows = "".join(f"{number}.mp4,{number}.0\n" for number in range(12))
    (tmp_path / "a.csv").write_text("path,label\n" + rows)
    records, names = read_videos(tmp_path / "a.csv", root=tmp_path, num_class=12)
    assert names is None and records.labels.tolist() == list(range(12))
    for cell in ("nan", "-1", "-1.0", "<NA>", ""):
        (tmp_path / "b.csv").write_text(f"path,label\na.mp4,0\nb.mp4,{cell}\n")
        records, _ = read_videos(tmp_path / "b.csv", root=tmp_path, unlabelled=True)
        assert records.labels.tolist() == [0, -1]
        with pytest.raises(ListError, match=r"b.csv:3: label -1 is negative"):
            read_videos(tmp_path / "b.csv", root=tmp_path)
    (tmp_path / "b.csv").write_text("path,label\na.mp4,0.5\n")
    with pytest.raises(ListError, match=r"b.csv:2: label 0.5 is not a whole number"):
        read_videos(tmp_path / "b.csv", root=tmp_path)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("start_sec", "end_sec"),
        ("begin", "stop"),
        ("t0", "t1"),
        ("Start Time (s)", "endTime"),
        ("time_start", "time_end"),
        ("start_timestamp", "stop_timestamp"),  # EPIC's
        ("starttime", "EndTime"),
        ("tstart", "tend"),
        ("startsec", "endsec"),
    ],
)
def test_time_columns_of_every_name_are_read(tmp_path: Path, mark: str, start: str, end: str):
    table = [["path", "label", start, end, "start_frame"], ["a.mp4", "0", "1.5", "00:01:02.25", "45"]]
    (tmp_path / "a.csv").write_text("\n".join(mark.join(row) for row in table))
    records, _ = read_videos(tmp_path / "a.csv", root=tmp_path)
    assert records.spans is not None and records.spans.tolist() == [[1.5, 62.25]]


@pytest.mark.parametrize(
    "columns",
    ["start_frame,stop_frame", "start,end_frame", "start,duration", "onset,offset", "segment,mood", "in,out", "From,To",
     "startframe,endframe", "first_frame,last_frame", "frame_in,frame_out", "inPoint,outPoint", "starttime,duration",
     "cut_in,cut_out", "tMin,tMax", "beg,fin", "finish,mood"],
)  # fmt: skip
def test_columns_that_look_like_times_are_an_error(tmp_path: Path, columns: str):
    (tmp_path / "a.csv").write_text(f"path,label,{columns}\na.mp4,0,1,2\n")
    first = columns.partition(",")[0]
    with pytest.raises(ListError, match=rf"a.csv:1: '{first}' .*seems? to say which part of a video is meant"):
        read_videos(tmp_path / "a.csv", root=tmp_path)


@pytest.mark.parametrize("columns", ["gender,weekend", "first,login", "last_name,index", "frames,in", "trend,timeless"])
def test_other_columns_are_not_taken_for_times(tmp_path: Path, columns: str):
    (tmp_path / "a.csv").write_text(f"path,label,{columns}\na.mp4,0,1,2\n")
    records, _ = read_videos(tmp_path / "a.csv", root=tmp_path)
    assert records.spans is None


def test_two_label_columns_are_an_error(tmp_path: Path):
    (tmp_path / "hacs.csv").write_text("classname,youtube_id,subset,start,end,label\nrun,x,training,1,3,-1\n")
    with pytest.raises(ListError, match=r"hacs.csv:1: 'classname' and 'label' could both be the label.*is -1"):
        read_videos(tmp_path / "hacs.csv", root=tmp_path)


def test_linked_and_nested_folders_hold_videos_of_the_outermost_class_folder(tmp_path: Path):
    for name in ("root/run/session 1/a.mp4", "root/run/._a.mp4", "elsewhere/deep/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "root/jump").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    records, names = read_videos(tmp_path / "root")
    assert names == ["jump", "run"]
    assert [records.path(place) for place in range(2)] == ["jump/deep/b.mp4", "run/session 1/a.mp4"]
    (tmp_path / "ids.csv").write_text("youtube_id,label\nb,jump\n")
    assert read_videos(tmp_path / "ids.csv", root=tmp_path / "root")[0].path(0) == "jump/deep/b.mp4"
    (tmp_path / "root/run/b.mkv").touch()
    with pytest.raises(ListError, match=r"ids.csv:2: b may be jump/deep/b.mp4 or run/b.mkv"):
        read_videos(tmp_path / "ids.csv", root=tmp_path / "root")
    (tmp_path / "root/loose.mp4").touch()
    with pytest.raises(ListError, match=r"root: loose.mp4 lies beside the class folders"):
        read_videos(tmp_path / "root")


def test_ids_need_a_folder_on_a_disk(tmp_path: Path):
    (tmp_path / "t.csv").write_text("label,youtube_id,time_start,time_end\nrun,x,3,13\n")
    with pytest.raises(ListError, match=r"t.csv:1: .* a folder on a disk, and https://h.example/videos is an address"):
        read_videos(tmp_path / "t.csv", root="https://h.example/videos")


def test_classes_of_covering_spans_are_left_out_on_request(tmp_path: Path):
    (tmp_path / "t.csv").write_text("path,label,start,end\na,0,0,9\na,1,2,4\na,2,2,4\n")
    for shared, inner in ((True, [1, 1, 1]), (False, [0, 1, 1])):
        records, _ = read_videos(tmp_path / "t.csv", num_class=3, multi_label=True, shared=shared)
        assert [records.labels[row].tolist() for row in range(2)] == [[1, 0, 0], inner]


@pytest.mark.parametrize("other", ["./d/a", "d//a", "d/../d/a", "d/a/", "{root}/d/a"])
def test_one_video_is_not_two_because_two_lines_spell_its_path_otherwise(tmp_path: Path, other: str):
    other = other.format(root=tmp_path)
    offsets = {"columns": ("offset", "num_frames", "label")}
    for name, text, given in (
        ("spans.csv", "path,label,start,end\n./d/b,0,1,2\n{},0,1,2\n{},1,3,4\n", {}),
        ("sets.csv", "path,label\n./d/b,0\n{},0\n{},1\n", {"multi_label": True}),
        ("offsets.txt", "./d/b 5 5 0\n\n{} 5 5 0\n{} 20 9 1\n", offsets),
    ):
        (tmp_path / name).write_text(text.format("d/a", other))
        with pytest.raises(ListError, match=rf"{name}:[45].*: '{other}' is the same path as 'd/a' in another line"):
            read_videos(tmp_path / name, root=tmp_path, encoded=False, **given)
        (tmp_path / name).write_text(text.format(other, other))
        assert len(read_videos(tmp_path / name, root=tmp_path, encoded=False, **given)[0]) >= 2
    (tmp_path / "list.txt").write_text(f"d/a 0\n{other} 1\n")  # where a path tells nothing of other lines
    assert len(read_videos(tmp_path / "list.txt", root=tmp_path)[0]) == 2
