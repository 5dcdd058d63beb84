"""Annotation files of mmaction2, PySlowFast and MIT's TSM are read as they are, and what cannot be is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets.lists.records import read_list
from datasets.lists.tables import read_videos
from tests.helpers.peer_lists import make_peer_lists
from tools import check_data, make_lists
from tools.listing.labels import read_labels
from utils.errors import ListError, UserError

TRAIN = ["rawframes/jump/v0 8 0", "rawframes/jump/v1 8 0", "rawframes/run/v0 8 1", "rawframes/run/v1 8 1"]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    make_peer_lists(tmp_path)
    return tmp_path


@pytest.mark.whole
@pytest.mark.parametrize("files", ["{}_rawframes.txt", "{}_videos.txt", "{}_anno.json", "{}_videofolder.txt", "{}.csv"])
def test_every_dialect_gives_the_same_lists(theirs: Path, files: str) -> None:
    tables = [word for side in ("train", "val") for word in ("--csv", str(theirs / files.format(side)))]
    names = ["--class-names", str(theirs / "label_map.txt")]
    assert make_lists.main([str(theirs / "rawframes"), *tables, *names]) == 0
    assert (theirs / "lists/train.txt").read_text().splitlines() == TRAIN
    assert (theirs / "lists/classInd.txt").read_text() == "0 jump\n1 run\n"


def test_lists_of_frames_and_videos_need_no_conversion(theirs: Path) -> None:
    for name in ("train_rawframes.txt", "train_videofolder.txt"):
        records = read_list(theirs / name, root=theirs / "rawframes", num_class=2)
        assert records.labels.tolist() == [0, 0, 1, 1] and records.num_frames.tolist() == [8] * 4
    for name in ("train_videos.txt", "train.csv"):
        assert read_videos(theirs / name, root=theirs / "videos")[0].labels.tolist() == [0, 0, 1, 1]


def test_what_is_not_known_is_named(theirs: Path) -> None:
    said: list[str] = []
    entry = {"frame_dir": "jump/v0", "total_frames": 8, "label": 0, "mood": "good"}
    (theirs / "x.json").write_text(json.dumps([entry]))
    assert len(read_labels(theirs / "x.json", note=said.append)) == 1
    (theirs / "y.csv").write_text("file,mood,label\na,good,x\n")
    read_labels(theirs / "y.csv", note=said.append)
    assert said == [f"{theirs / 'x.json'}: not read: mood", f"{theirs / 'y.csv'}: not read: mood"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"offset": 30}, "offset 30: every video must have its own folder"), ({"label": [0, 1]}, "must have one class")],
)
def test_what_cannot_be_honoured_is_an_error(theirs: Path, changed: dict[str, object], message: str) -> None:
    (theirs / "x.json").write_text(json.dumps([{"frame_dir": "jump/v0", "total_frames": 8, "label": 0} | changed]))
    with pytest.raises(ListError, match=f"x.json: entry '0': .*{message}"):
        read_labels(theirs / "x.json")


def test_lists_with_more_numbers_are_not_taken_for_paths_in_silence(theirs: Path) -> None:
    (theirs / "train_offset.txt").write_text("jump/v0 0 8 0\nrun/v0 0 8 1\n")
    with pytest.raises(UserError, match=r"such as 'jump/v0 0'; .*with_offset and multi_class"):
        make_lists.main([str(theirs / "rawframes"), "--csv", str(theirs / "train_offset.txt")])


def test_check_data_says_what_lists_with_more_numbers_need(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (theirs / "classes.txt").write_text("jump/v0 8 0 1\nrun/v0 8 1 0\n")
    assert check_data.main([str(theirs / "classes.txt"), "--root", str(theirs / "rawframes"), "--workers", "1"]) == 2
    told = capsys.readouterr().out
    assert "folder not found" in told and "several classes are written as 3;7;12, with multi_label" in told
