"""Lists of sets: made from what people have, checked without false faults, repaired."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.class_names import read_class_file
from datasets.lists.records import read_list
from datasets.lists.tables import read_videos
from tests.datasets.conftest import write_video
from tests.tools.test_make_lists import frames, lines, make, refusal
from tools import check_data, pack_frames
from tools.listing.labels import read_labels, split_labels
from tools.listing.splits import ratio_split

CHARADES = """id,subject,scene,quality,relevance,verified,script,actions,length
AO8RW,HR43,Kitchen,6,7,Yes,"A person; cooks.",c092 11.90 21.20;c147 0.00 12.60;c092 0.00 3.00,33.67
46GP8,N11L,Home,,,No,A person sits.,c147 0.50 2.00,24.0
YMXV0,UMXZ,Hall,5,5,Yes,"Nothing, really.",,10.0
"""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("AO8RW", "46GP8", "YMXV0"):
        frames(tmp_path / "frames" / name, 4)
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        CHARADES,
        "AO8RW.mp4,c147;c092\n46GP8.mp4,c147\nYMXV0.mp4,-\n",
        "path,labels\nAO8RW,c147; c092\n46GP8,c147\nYMXV0,\n",
        "video,label\nAO8RW,c147\n46GP8,c147\nAO8RW,c092\nYMXV0,-\nAO8RW,c147\n",
        "AO8RW\tc147\nAO8RW\tc092\n46GP8\tc147\nYMXV0\t-\n",
    ],
    ids=["Charades", "cells", "header", "rows", "tabs"],
)
def test_every_way_to_say_several_classes_gives_the_same_list(dataset: Path, text: str) -> None:
    (dataset / "train.csv").write_text(text)
    (dataset / "val.csv").write_text("46GP8,c147\n")
    source = dataset / "train.csv"
    frames(dataset / "frames" / "v0", 2)
    (dataset / "val.csv").write_text("v0,c147\n")
    make(dataset, "--csv", source, "--csv", dataset / "val.csv", "--multi-label")
    found = {line.rsplit(" ", 2)[0]: line.rsplit(" ", 1)[1] for line in lines(dataset / "lists/train.txt")}
    assert found == {"frames/AO8RW": "0;1", "frames/46GP8": "1", "frames/YMXV0": "-"}
    assert read_class_file(dataset / "lists/classInd.txt") == ["c092", "c147"]
    records = read_list(dataset / "lists/train.txt", columns=("num_frames", "labels"), num_class=2)
    assert sorted(records.labels.sizes.tolist()) == [0, 1, 2]


def test_encoded_videos_show_several_classes_none_or_nobody_knows(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "train.csv").write_text("file,label,start,end\na,run;sit,0,1\nb,-,0,1\na,eat,2,3\n")
    (tmp_path / "val.csv").write_text("c.mp4,sit\n")
    (tmp_path / "test.csv").write_text("d.mp4,-1\n")
    tables = [word for name in ("train", "val", "test") for word in ("--csv", tmp_path / f"{name}.csv")]
    make(tmp_path, "--videos", "--multi-label", "--unlabelled", *tables)
    assert lines(tmp_path / "lists/train.csv") == ["path,label", "b.mp4,-", "a.mp4,run;sit;eat"]
    assert lines(tmp_path / "lists/test.csv") == ["path,label", "d.mp4,-1"]
    rows = {}
    for side in ("train", "test"):
        source = tmp_path / f"lists/{side}.csv"
        records, names = read_videos(source, root=tmp_path, num_class=3, multi_label=True, unlabelled=True)
        rows |= {records.path(place): records.labels[place].tolist() for place in range(len(records))}
    assert names == ["eat", "run", "sit"]
    assert rows == {"a.mp4": [1, 1, 1], "b.mp4": [0, 0, 0], "d.mp4": [-1, -1, -1]}


def test_numbers_parted_by_commas_are_classes_and_names_may_hold_commas() -> None:
    assert split_labels("3,7, 12") == ["3", "7", "12"]
    assert split_labels("walk, slowly;run") == ["walk, slowly", "run"]
    assert split_labels("-") == split_labels("") == []
    assert split_labels("c092 11.90 21.20;c147 0.00 12.60") == ["c092", "c147"]


def test_numbers_take_the_names_of_a_class_file(dataset: Path) -> None:
    (dataset / "train.csv").write_text('AO8RW,"0,2"\n46GP8,1\n')
    (dataset / "val.csv").write_text("YMXV0,-\n")
    (dataset / "names.txt").write_text("eat\nsit\nrun\n")
    make(dataset, "--csv", dataset / "train.csv", "--csv", dataset / "val.csv", "--multi-label",
         "--class-names", dataset / "names.txt")  # fmt: skip
    assert sorted(line.rsplit(" ", 1)[1] for line in lines(dataset / "lists/train.txt")) == ["0;2", "1"]
    assert lines(dataset / "lists/val.txt") == ["frames/YMXV0 4 -"]


def test_a_ratio_takes_its_share_of_every_class_and_of_those_that_show_none() -> None:
    sets = [["a", "b"] if n % 2 else ["a"] if n % 4 else [] for n in range(400)]
    sides = ratio_split(sets, [f"{n}" for n in range(400)], ratio=0.25, seed=1)
    for name in ("a", "b"):
        members = [side for labels, side in zip(sets, sides, strict=True) if name in labels]
        assert 0.2 < members.count("val") / len(members) < 0.3
    assert 0.2 < sum(side == "val" for labels, side in zip(sets, sides, strict=True) if not labels) / 100 < 0.3


def test_several_classes_have_to_be_asked_for(dataset: Path) -> None:
    (dataset / "all.csv").write_text("AO8RW,run\nAO8RW,eat\n")
    assert "all.csv:2: AO8RW was already given as 'run'" in refusal(dataset, "--csv", dataset / "all.csv")
    assert "--multi-label: folders give one class each" in refusal(dataset, "--multi-label")
    with pytest.raises(Exception, match="the label is empty"):
        (dataset / "empty.csv").write_text("AO8RW,run\n46GP8,\n")
        read_labels(dataset / "empty.csv")


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """Three classes; a folder is called like a class that its video does not show first."""
    (tmp_path / "lists").mkdir()
    for split, sets in (("train", ["0;2", "1", "-"]), ("val", ["1;2", "0"])):
        rows = []
        for number, text in enumerate(sets):
            path = f"frames/sit/{split} {number}"
            write_video(tmp_path / path, number, 3)
            rows.append(f"{path} 3 {text}\n")
        (tmp_path / f"lists/{split}.txt").write_text("".join(rows))
    (tmp_path / "lists/classInd.txt").write_text("0 eat\n1 sit\n2 run\n")
    return tmp_path


def test_a_good_set_has_no_fault(checked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_data.main([str(checked), "--multi-label", "--workers", "1"]) == 0, capsys.readouterr().out


def test_faults_of_sets_are_found_and_repaired(checked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = checked / "lists/train.txt", checked / "lists/val.txt"
    train.write_text("frames/sit/train 0 3 2\nframes/sit/train 1 3 2;0\nframes/sit/train 2 3 -\nframes/sit/x 3 1,2\n")
    val.write_text("frames/sit/val 0 3 1;2\nframes/sit/val 1 3 0;7\n")
    arguments = [str(checked), "--multi-label", "--quick", "--workers", "1"]
    assert check_data.main(arguments) == 2
    said = capsys.readouterr().out
    assert "train.txt:4: a comma separates columns in 'frames/sit/x 3 1,2'" in said
    assert "val.txt:2: label 7 is outside the 3 classes" in said
    assert "class 1 (sit) has no training video" in said and "3 faults in 5 videos" in said
    assert check_data.main([*arguments, "--fix"]) == 0, capsys.readouterr().out
    assert lines(train) == ["frames/sit/train 0 3 1", "frames/sit/train 1 3 1;0", "frames/sit/train 2 3 -"]
    assert lines(val) == ["frames/sit/val 0 3 1"]
    assert lines(checked / "lists/classInd.txt") == ["0 eat", "1 run"]


def test_frames_of_such_lists_can_be_packed(checked: Path) -> None:
    arguments = [checked / "pack", checked / "lists/train.txt", "--root", checked, "--multi-label"]
    assert pack_frames.main([*map(str, arguments)]) == 0
