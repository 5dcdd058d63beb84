"""Tests check_data on encoded videos: lists of `path label`, folders of classes, CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.protocol import clip_protocol
from datasets.split import open_split
from datasets.videos import index as video_index
from tests.datasets.videos.test_videos_in_a_config import CONFIG
from tests.helpers.make_video import damage, make_video, truncate
from tools import check_data
from utils.clip_spec import ClipSpec
from utils.config.file import load_config
from utils.errors import ListError, UserError

VIDEOS = [f"{label}/v_{label}_g{group:02d}_c01.mp4" for label in ("jump", "run") for group in (1, 2, 3)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Makes 2 classes x (2 training + 1 validation) videos and their lists."""
    for name in VIDEOS:
        make_video(tmp_path / "videos" / name, frames=8)
    (tmp_path / "lists").mkdir()
    lines = [f"{name} {name.startswith('run'):d}\n" for name in VIDEOS]
    (tmp_path / "lists/train.txt").write_text("".join(line for line in lines if "_g03_" not in line))
    (tmp_path / "lists/val.txt").write_text("".join(line for line in lines if "_g03_" in line))
    (tmp_path / "lists/classInd.txt").write_text("0 jump\n1 run\n")
    return tmp_path / "videos"


def doctor(
    videos: Path, *options: str, code: int, capsys: pytest.CaptureFixture[str], train: str = "", val: str = ""
) -> dict[str, Any]:
    folder = videos.parent
    train, val = train or str(folder / "lists/train.txt"), val or str(folder / "lists/val.txt")
    (folder / "config.yaml").write_text(
        CONFIG.format(folder="unused", cache=folder / "cache", extra="fps: 12")
        .replace("train_source: unused", f"train_source: {train}\n    train_root: {videos}")
        .replace("val_source: unused", f"val_source: {val}\n    val_root: {videos}")
    )
    assert check_data.main([str(folder / "config.yaml"), "--json", "--workers", "1", *options]) == code
    return json.loads(capsys.readouterr().out)


def test_a_clean_set_of_videos_has_no_fault(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(videos, code=0, capsys=capsys)["faults"] == []
    rows = "".join(f"{name},{name.partition('/')[0]}\n" for name in VIDEOS if "_g03_" not in name)
    (videos.parent / "train.csv").write_text("path,label\n" + rows)
    found = doctor(videos, code=0, capsys=capsys, train=str(videos.parent / "train.csv"))
    assert found["faults"] == [] and found["videos"] == 6


def test_a_list_of_videos_needs_no_config(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (
        videos.parent / "mmaction2.txt",
        videos / "lines.txt",
    ):
        place.write_text("".join(f"{name} {int(name.startswith('run'))}\n" for name in VIDEOS))
        code = check_data.main([str(place), "--json", "--quick", "--workers", "1"])
        found = json.loads(capsys.readouterr().out)
        assert (code, found["faults"], found["videos"]) == (0, [], len(VIDEOS))


@pytest.mark.whole
def test_planted_faults_are_found_and_fixed(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_video(videos / "jump/v_jump_g04_c01.mp4", frames=240, b="800k", sc_threshold="0")
    damage(videos / "jump/v_jump_g04_c01.mp4", places=20)  # its one key frame and its packets stay whole
    make_video(videos / "run/v_run_g03_c02.mp4", frames=8)
    truncate(make_video(videos / "run/v_run_g05_c01.mp4"))
    (videos / "run/v_run_g06_c01.mp4").write_bytes(b"just text" * 100)
    with (videos.parent / "lists/train.txt").open("a") as file:
        file.write("jump/v_jump_g04_c01.mp4 0\nrun/v_run_g03_c02.mp4 1\nrun/v_run_g05_c01.mp4 1\n")
        file.write("run/v_run_g06_c01.mp4 1\nrun/gone.mp4 1\njump/v_jump_g01_c01.mp4 0\nno label\n")
    found = doctor(videos, code=2, capsys=capsys)
    assert sorted(fault["kind"] for fault in found["faults"]) == [
        "duplicate", "group_overlap", "line", "missing_video", *["undecodable_video"] * 3
    ]  # fmt: skip
    quick = [fault["kind"] for fault in doctor(videos, "--quick", code=2, capsys=capsys)["faults"]]
    assert 1 <= quick.count("undecodable_video") < 3, "damage inside shows only when it is decoded"
    assert doctor(videos, "--fix", code=0, capsys=capsys)["remaining"] == []
    assert doctor(videos, code=0, capsys=capsys)["faults"] == []
    assert (videos.parent / "lists/train.txt").read_text().splitlines() == [
        f"{name} {name.startswith('run'):d}" for name in VIDEOS if "_g03_" not in name
    ]


def fixed_csv(folder: Path, rows: str, names: str, *options: str) -> str:
    """Returns what --fix makes of a training CSV about the videos a.mp4 and b.mp4."""
    for name in ("a", "b"):
        make_video(folder / f"{name}.mp4", frames=4)
    (folder / "lists").mkdir()
    (folder / "lists/classInd.txt").write_text(names)
    (folder / "lists/train.csv").write_text(rows, newline="")
    assert check_data.main([str(folder), "--root", str(folder), "--workers", "1", "--fix", *options]) == 0
    assert (folder / "lists/train.csv.orig").read_bytes() == rows.encode()
    return (folder / "lists/train.csv").read_text()


def test_a_csv_is_fixed_with_all_its_columns(tmp_path: Path) -> None:
    rows = 'note,path,label\r\n"says ""x""",a.mp4,"jump, high"\r\n2,gone.mp4,run\r\n\r\n3,b.mp4,walk\r\n'
    fixed = fixed_csv(tmp_path, rows, "0 jump, high\n1 run\n2 walk\n")
    assert fixed == 'note,path,label\n"says ""x""",a.mp4,"jump, high"\n3,b.mp4,walk\n'
    assert (tmp_path / "lists/classInd.txt").read_text() == "0 jump, high\n1 walk\n"


def test_numbers_in_a_csv_move_up_when_a_class_is_taken_out(tmp_path: Path) -> None:
    fixed = fixed_csv(tmp_path, "path,label\na.mp4,0\ngone.mp4,1\nb.mp4,2\n", "0 jump\n1 run\n2 walk\n")
    assert fixed == "path,label\na.mp4,0\nb.mp4,1\n"


def test_a_csv_of_several_classes_keeps_them_in_a_videos_first_row(tmp_path: Path) -> None:
    rows = "path,labels\na.mp4,walk;jump\nb.mp4,\ngone.mp4,run\na.mp4,sit\nb.mp4,-\n"
    fixed = fixed_csv(tmp_path, rows, "0 jump\n1 run\n2 walk\n3 sit\n", "--multi-label")
    assert fixed == "path,labels\na.mp4,jump;walk;sit\nb.mp4,\n"


def test_what_is_no_list_is_not_rewritten(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = doctor(videos, code=2, capsys=capsys, train=str(videos), val=str(videos))
    assert [fault["kind"] for fault in found["faults"]] == ["same_list"]
    with pytest.raises(UserError, match="--fix repairs lists, not folders"):
        doctor(videos, "--fix", code=0, capsys=capsys, train=str(videos))
    assert not list(videos.parent.rglob("*.orig"))


def test_parts_of_videos_are_told_apart_and_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_video(tmp_path / "a.mp4", frames=24)
    (tmp_path / "b.mp4").write_bytes(b"")
    (tmp_path / "lists").mkdir()
    parts = "a.mp4,x,0,0.5\na.mp4,x,2,3\nb.mp4,x,,\nc.mp4,x,,\na.mp4,x,0.75,1\na.mp4,x,0,0.5\n"
    (tmp_path / "lists/train.csv").write_text(f"path,label,start,end\n{parts}")
    (tmp_path / "lists/val.csv").write_text("path,label,start,end\na.mp4,x,0.75,0.9\na.mp4,-1,0.5,0.7\n")
    (tmp_path / "lists/test.csv").write_text("path\na.mp4\n")
    assert check_data.main([str(tmp_path), "--root", str(tmp_path), "--json", "--workers", "1"]) == 2
    faults = {
        (fault["kind"], fault["line"]): fault["message"] for fault in json.loads(capsys.readouterr().out)["faults"]
    }
    assert set(faults) == {
        ("span", 3), ("undecodable_video", 4), ("missing_video", 5), ("overlap", 6), ("duplicate", 7)
    }  # fmt: skip
    assert "train.csv:3: 'x' from 2 to 3 s lies outside of the video, which lasts 1.00 s" in faults["span", 3]
    assert "the file is empty" in faults["undecodable_video", 4]
    for name in ("val", "test"):
        (tmp_path / f"lists/{name}.csv").unlink()
    (tmp_path / "lists/train.csv").write_text("path,label\na.mp4,x\n")
    assert check_data.main([str(tmp_path), "--quick"]) == 0
    assert "1 video, packets scanned: nothing is wrong" in capsys.readouterr().out


def test_quick_lists_what_the_index_for_training_has_found(
    videos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[str] = []
    real = video_index.scan
    monkeypatch.setattr(video_index, "scan", lambda path: scanned.append(path) or real(path))
    (videos / VIDEOS[0]).write_bytes(b"just text" * 100)
    found = doctor(videos, "--quick", code=2, capsys=capsys)
    assert [fault["kind"] for fault in found["faults"]] == ["undecodable_video"]
    assert f"{videos / VIDEOS[0]}: cannot be read as a video" in found["faults"][0]["message"]
    assert len(scanned) == len(VIDEOS)
    assert doctor(videos, "--quick", code=2, capsys=capsys)["faults"] == found["faults"]
    common = load_config(videos.parent / "config.yaml").common
    with pytest.raises(ListError, match="cannot be read as a video"):
        open_split(common, "train", clip_protocol(common, ClipSpec(4), train=True))
    assert len(scanned) == len(VIDEOS), "neither the second check nor training scans a video again"
