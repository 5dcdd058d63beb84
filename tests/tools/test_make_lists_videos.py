"""Tests lists of encoded videos on empty files, because make_lists reads only their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.tables import read_videos
from tests.tools.test_make_lists import frames, lines, make, refusal


@pytest.mark.parametrize("official", ["ucf101", "hmdb51", ""])
def test_encoded_videos_become_lists_of_videos(official: str, tmp_path: Path) -> None:
    names = [f"{name}/v_{name}_g{group:02d}_c01" for name in ("jump", "run") for group in (1, 2)]
    for name in names:
        (tmp_path / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "UCF-101" / f"{name}.avi").touch()
    (tmp_path / "UCF-101" / "jump" / "readme.txt").touch()
    split, arguments = tmp_path / "split", ["--val-ratio", 0.5]
    split.mkdir()
    if official == "ucf101":
        (split / "classInd.txt").write_text("1 jump\n2 run\n")
        (split / "trainlist01.txt").write_text("".join(f"{name}.avi {1 + (name[0] == 'r')}\n" for name in names[::2]))
        (split / "testlist01.txt").write_text("".join(f"{name}.avi\n" for name in names[1::2]))
    for label in ("jump", "run") if official == "hmdb51" else ():
        rows = [f"v_{label}_g0{group}_c01.avi {group}\n" for group in (1, 2)]
        (split / f"{label}_test_split1.txt").write_text("".join(rows))
    if official:
        arguments = ["--split", split]
    make(tmp_path / "UCF-101", "--videos", *arguments)
    for side, group in (("train", 1), ("val", 2)) if official else ():
        assert lines(tmp_path / "UCF-101/lists" / f"{side}.csv") == [
            "path,label", *(f"{name}/v_{name}_g0{group}_c01.avi,{name}" for name in ("jump", "run"))
        ]  # fmt: skip
    records, classes = read_videos(tmp_path / "UCF-101/lists/train.csv", root=tmp_path / "UCF-101", num_class=2)
    assert classes == ["jump", "run"] and sorted(records.labels.tolist()) == [0, 1]
    assert all(Path(records.full_path(place)).is_file() for place in range(2))


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    frames(tmp_path / "frames" / "run" / "v0", 2)
    assert "no videos in it" in refusal(tmp_path / "frames", "--videos")
    (tmp_path / "encoded").mkdir()
    assert "or give --videos" in refusal(tmp_path / "encoded")


@pytest.mark.parametrize("below", ["", "videos/"])
def test_encoded_videos_keep_the_split_of_their_folders_and_loose_ones_have_no_class(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("train", "val"):
        (tmp_path / f"{below}{side}/run").mkdir(parents=True)
        (tmp_path / f"{below}{side}/run/a.mp4").touch()
    make(tmp_path, "--videos")
    assert lines(tmp_path / "lists/val.csv") == ["path,label", f"{below}val/run/a.mp4,run"]
    said = capsys.readouterr().out
    assert "data: {store: {type: video}}" in said and f"train_source: {tmp_path / 'lists/train.csv'}" in said
    (tmp_path / f"{below}loose.mp4").touch()
    assert "1 videos have no class, such as " + f"{below}loose.mp4" in refusal(tmp_path, "--videos")


def test_encoded_videos_in_nested_folders_have_the_class_that_training_from_the_folder_gives_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("run/s1/a", "run/s2/b", "jump/s1/c", "jump/s1/d"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / f"{name}.mp4").touch()
    make(tmp_path / "set", "--videos", "--val-ratio", 0.5)
    assert "--class-folder last takes 's1'" in capsys.readouterr().out
    both = [line for side in ("train", "val") for line in lines(tmp_path / f"set/lists/{side}.csv")[1:]]
    records, names = read_videos(tmp_path / "set")
    assert names is not None
    from_folders = {f"{records.path(place)},{names[records.labels[place]]}" for place in range(4)}
    assert set(both) == from_folders
