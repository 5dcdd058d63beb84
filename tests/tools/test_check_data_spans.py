"""`tools.check_data` on lists of spans: what is wrong with them has its line, and --fix mends what can be mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from datasets.lists.tables import read_videos
from tests.helpers.make_video import make_video
from tools import check_data

HEADER = "path,label,start,end\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of two seconds."""
    folder = tmp_path_factory.mktemp("films")
    for name in "ab":
        make_video(folder / f"{name}.mp4", frames=24, fps=12)
    return folder


class Doctor:
    """Asks about lists of the same two films."""

    def __init__(self, films: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.films, self.folder, self.capsys = films, folder, capsys
        (folder / "lists").mkdir()
        (folder / "lists/classInd.txt").write_text("0 x\n1 y\n")

    def write(self, name: str, rows: str, header: str = HEADER) -> Path:
        path = self.folder / f"lists/{name}.csv"
        path.write_text(header + rows)
        return path

    def __call__(self, *options: str) -> dict[str, Any]:
        given = [str(self.folder), "--root", str(self.films), "--workers", "1", "--quick", "--json", *options]
        code = check_data.main(given)
        said: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        assert code == (2 if said["remaining"] else 0)
        return said


@pytest.fixture
def doctor(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(films, tmp_path, capsys)


GOOD = "a.mp4,x,0,0.5\nb.mp4,y,0.5,1\n"


@pytest.mark.parametrize(
    ("row", "message", "fix", "mended"),
    [
        ("a.mp4,x,1.5,1", "'x' from 1.5 to 1 s ends before it begins; exchange the two", "exchanged", "a.mp4,x,1,1.5"),
        ("a.mp4,x,1,1", "'x' from 1 to 1 s has no length; give it one, or remove it", "the span is left out", ""),
        ("b.mp4,x,-1,1.5", "begins before the video; its times count from the start", "begins at 0", "b.mp4,x,0,1.5"),
        ("a.mp4,x,-2,-1", "lies outside of the video; correct it, or remove it", "the span is left out", ""),
        ("a.mp4,x,2.5,3", "lies outside of the video, which lasts 2.00 s", "the span is left out", ""),
        ("a.mp4,x,1,2.5", "ends behind the end of the video, which lasts 2.00 s", "ends with the video", "a.mp4,x,1,2"),
        ('a.mp4,x,"1,25",1.5', "start '1,25' has a comma; write a point", "read as a point", "a.mp4,x,1.25,1.5"),
        ("a.mp4,x,nan,1.5", "start 'nan' is not a time; write seconds (12.5) or a clock time", "line is removed", ""),
        ("a.mp4,x,1,inf", "end 'inf' is not a time", "the line is removed", ""),
        ("a.mp4,x,1,", "end '' is not a time", "the line is removed", ""),
        ("gone.mp4,x,1,2", "video not found: ", "the line is removed", ""),
    ],
)
def test_a_span_that_cannot_be_has_its_line_and_is_mended(
    doctor: Doctor, row: str, message: str, fix: str, mended: str
) -> None:
    path = doctor.write("train", f"{GOOD}{row}\n")
    (fault,) = doctor()["faults"]
    assert fault["message"].startswith(f"{path}:4") and message in fault["message"]
    assert fault["line"] == 4 and fix in fault["fix"]
    assert doctor("--fix")["remaining"] == []
    assert path.read_text() == f"{HEADER}{GOOD}{mended}\n".replace("\n\n", "\n")
    assert doctor()["faults"] == []
    records, _ = read_videos(path, root=doctor.films)
    assert len(records) == 2 + bool(mended)


def test_a_span_is_cut_at_the_length_of_its_video_without_the_error_of_its_ticks(doctor: Doctor) -> None:
    make_video(doctor.folder / "videos/long.mp4", frames=300, fps=25)  # 300 x 0.04 s are 12.000000000000002 s
    doctor.films = doctor.folder / "videos"
    path = doctor.write("train", "long.mp4,x,1,2\nlong.mp4,y,10,99\n")
    doctor("--fix")
    assert path.read_text().splitlines()[-1] == "long.mp4,y,10,12"


def test_several_faults_of_one_span_are_all_told_and_mended(doctor: Doctor) -> None:
    path = doctor.write("train", f'{GOOD}a.mp4,x,"9,5",1.25\n')
    assert [fault["line"] for fault in doctor()["faults"]] == [4, 4, 4]
    assert doctor("--fix")["remaining"] == [] and path.read_text().endswith("a.mp4,x,1.25,2\n")


@pytest.mark.parametrize(
    ("row", "message", "mended"),
    [
        ("a.mp4,x,12,6", "'x' from 12 to 6 (frames) ends before it begins", "a.mp4,x,6,12"),
        ("a.mp4,x,6,25", "ends behind the end of the video, which has 24 frames; correct it", "a.mp4,x,6,24"),
        ("a.mp4,x,24,30", "lies outside of the video, which has 24 frames", ""),
        ("a.mp4,x,6.5,12", "'6.5' is not the number of a frame; write a whole number", ""),
        ("a.mp4,x,6.0,12", "must be whole numbers from 0 on, found '6.0' and '12'", ""),
    ],
)
def test_spans_in_frames_are_told_in_frames(doctor: Doctor, row: str, message: str, mended: str) -> None:
    header = "path,label,start_frame,end_frame\n"
    path = doctor.write("train", f"a.mp4,x,0,5\nb.mp4,y,0,5\n{row}\n", header)
    (fault,) = doctor()["faults"]
    assert fault["message"].startswith(f"{path}:4: ") and message in fault["message"]
    doctor("--fix")
    assert path.read_text() == f"{header}a.mp4,x,0,5\nb.mp4,y,0,5\n{mended}\n".replace("\n\n", "\n")


def test_spans_of_one_class_that_overlap_are_a_fault_and_those_of_two_are_told(doctor: Doctor) -> None:
    path = doctor.write("train", "a.mp4,x,0,1\na.mp4,y,0.5,1.5\na.mp4,x,0.75,1.25\nb.mp4,y,0,1\nb.mp4,x,1,2\n")
    said = doctor()
    (fault,) = said["faults"]
    assert fault["message"] == (
        f"{path}:4: 'x' from 0.75 to 1.25 s of 'a.mp4' overlaps with 'x' from 0 to 1 s, line 2; join or correct them"
    )
    assert fault["kind"] == "span_overlap" and fault["fix"] == ""
    (note,) = said["notes"]
    assert note.startswith(f"{path}: 2 spans overlap with one of another class, the first on lines 2 and 3;")
    assert doctor("--multi-label")["notes"] == []


@pytest.mark.parametrize(("times", "more"), [("1,2", ""), ("0.25,2", ", which overlaps with this one")])
def test_a_video_with_spans_in_both_splits_is_one_fault(doctor: Doctor, times: str, more: str) -> None:
    train = doctor.write("train", f"{GOOD}b.mp4,x,1,2\n")
    val = doctor.write("val", f"a.mp4,x,{times}\n")
    said = doctor()
    (fault,) = said["faults"]
    assert fault["kind"] == "overlap" and fault["message"].startswith(
        f"{train}:2 (0 to 0.5 s): 'a.mp4' also has spans in {val}, here line 2{more}; clips of one video look alike"
    )
    assert fault["fix"] == "the video's lines in val.csv are removed"
    doctor.write("val", f"a.mp4,x,{times}\na.mp4,y,0.5,0.75\n")
    assert doctor()["faults"][0]["fix"] == "the video's lines in train.csv are removed"


def test_classes_that_one_list_or_all_lack_are_told(doctor: Doctor) -> None:
    (doctor.folder / "lists/classInd.txt").write_text("0 x\n1 y\n2 z\n3 w\n")
    train, val = doctor.write("train", "a.mp4,x,0,1\na.mp4,y,1,2\n"), doctor.write("val", "b.mp4,x,0,1\nb.mp4,w,1,2\n")
    said = doctor()
    assert [fault["message"] for fault in said["faults"]] == [
        f"{train}: class 2 (z) has no training video, and is in no list",
        f"{train}: class 3 (w) has no training video, only of val",
    ]
    assert said["notes"] == [f"{val}: 1 class is in no validation video, so no score says anything about: 1 (y)"]


@pytest.mark.parametrize(
    ("row", "message", "fix", "mended"),
    [
        ("a.mp4,X ,1,2", "class 'X' is 'x' in {classes}", "it is spelled so", "a.mp4,x,1,2"),
        ("a.mp4,z,1,2", "class 'z' is not in {classes}; rename it, or add it there", "the line is removed", ""),
        ("a.mp4,,1,2", "'a.mp4' has no class, and every training video needs one", "the line is removed", ""),
        ("a.mp4,1.5,1,2", "label 1.5 is not a whole number", "the line is removed", ""),
    ],
)
def test_a_class_that_nothing_names_has_its_line(doctor: Doctor, row: str, message: str, fix: str, mended: str) -> None:
    path = doctor.write("train", f"{GOOD}{row}\n")
    (fault,) = doctor()["faults"]
    assert fault["message"] == f"{path}:4: " + message.format(classes=doctor.folder / "lists/classInd.txt")
    assert fault["fix"] == fix and doctor("--fix")["remaining"] == []
    assert path.read_text() == f"{HEADER}{GOOD}{mended}\n".replace("\n\n", "\n")


def test_classes_of_a_set_are_spelled_alike_and_numbers_stay(doctor: Doctor) -> None:
    path = doctor.write("train", "a.mp4,Y;x,0,1\nb.mp4,-,0,1\na.mp4,1,1,2\n")
    (fault,) = doctor("--multi-label")["faults"]
    assert "class 'Y' is 'y'" in fault["message"] and fault["line"] == 2
    doctor("--multi-label", "--fix")
    assert path.read_text() == HEADER + "a.mp4,x;y,0,1\nb.mp4,-,0,1\na.mp4,1,1,2\n"


def test_sets_of_classes_are_checked_and_written_as_the_rows_have_them(doctor: Doctor) -> None:
    rows = "a.mp4,x,0,1.5\na.mp4,y,0.5,1\nb.mp4,y,0,1\n"
    path = doctor.write("train", rows)
    assert doctor("--multi-label")["faults"] == []
    path = doctor.write("train", f"{rows}gone.mp4,x,0,1\n")
    assert [fault["kind"] for fault in doctor("--multi-label", "--fix")["faults"]] == ["missing_video"]
    assert path.read_text() == HEADER + rows


def config_of(doctor: Doctor, kind: str) -> Path:
    """A config whose training and validation lists are the doctor's."""
    segment = {"head": "mstcn", "num_segments": 2} if kind == "segment" else {"num_segments": 2}
    common = {
        "model": {"type": kind, "backbone": "resnet18", "num_class": 2, **segment},
        "augmentation": {"input_size": 32},
        "data": {"store": {"type": "video"}} | ({"feature_cache": "features"} if kind == "segment" else {}),
        "lr_scheduler": {"base_lr": 0.1, "max_iter": 1},
        **{f"{name}_source": str(doctor.folder / f"lists/{name}.csv") for name in ("train", "val")},
        **{f"{name}_root": str(doctor.films) for name in ("train", "val")},
    }
    path = doctor.folder / "config.yaml"
    path.write_text(yaml.safe_dump({"common": common}))
    return path


def test_a_row_without_label_and_span_is_a_video_without_spans_for_the_method_that_finds_them(doctor: Doctor) -> None:
    train = doctor.write("train", "a.mp4,x,0,0.5\na.mp4,y,0.5,1\nb.mp4,,,\n")
    note = f"{train}: 1 video has neither a label nor a span, which only type: segment takes, as one without spans"
    said = doctor()
    assert not said["faults"] and said["notes"] == [note]
    doctor.write("val", "b.mp4,x,0,0.3\nb.mp4,,1,2\n")
    where = f"{doctor.folder / 'lists'}/"
    for kind, expected in (
        ("segment", [f"{where}val.csv:3: 'b.mp4' has no class, and every video needs one"]),
        ("tsn", [f"{where}train.csv:4: 'b.mp4' has no class, and every training video needs one"]),
    ):
        check_data.main([str(config_of(doctor, kind)), "--workers", "1", "--quick", "--json"])
        faults = json.loads(doctor.capsys.readouterr().out)["faults"]
        assert [fault["message"] for fault in faults if fault["kind"] == "line"] == expected
