"""A folder of videos is looked at first, and one that nobody can learn from is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.make_video import make_audio, make_video
from tools.starting.survey import Survey, check_lengths, find, look
from utils.errors import UserError


def made(folder: Path, **frames: list[int]) -> Path:
    """Videos of each class, with these numbers of frames."""
    for label, lengths in frames.items():
        for number, length in enumerate(lengths):
            make_video(folder / label / f"{label}{number}.mp4", frames=length, size=(32, 32))
    return folder


def survey(folder: Path) -> Survey:
    return look(folder, *find(folder), workers=1)


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        survey(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_what_is_there_is_said_in_plain_words(tmp_path: Path) -> None:
    found = survey(made(tmp_path, run=[12, 24], jump=[24, 48, 24]))
    assert found.classes == ["jump", "run"] and not found.has_split and not found.damaged
    first, second = found.lines()
    assert first == "5 videos of 2 classes: jump 3, run 2"
    assert second.startswith("0.5 to 2.0 (median 1.0) seconds long, 12 to 48 (median 24) frames, 24 frames a second")
    assert second.endswith("32x32")


def test_folders_train_and_val_are_a_split_and_no_classes(tmp_path: Path) -> None:
    for side in ("train", "val"):
        made(tmp_path / side, run=[4], jump=[4])
    found = survey(tmp_path)
    assert found.has_split and found.classes == ["jump", "run"]


def test_folders_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    for name, said in (("missing", "no such folder"), ("file", "is not a folder"), ("empty", "no videos in it")):
        if name == "file":
            (tmp_path / name).touch()
        elif name == "empty":
            (tmp_path / name).mkdir()
        assert said in refusal(tmp_path / name)
    assert "only one class with videos, 'run'" in refusal(made(tmp_path / "one", run=[4, 4]))
    assert "class 'jump' has one video;" in refusal(made(tmp_path / "few", run=[4, 4], jump=[4]))
    assert "loose.mp4: is in no class folder" in refusal(
        make_video(made(tmp_path / "loose", run=[4, 4], jump=[4, 4]) / "loose.mp4", frames=2).parent
    )


def test_a_damaged_video_is_counted_apart_and_its_class_must_do_without(tmp_path: Path) -> None:
    folder = made(tmp_path, run=[4, 4], jump=[4, 4])
    make_audio(folder / "run" / "sound.mp4")
    found = survey(folder)
    assert [one.path.name for one in found.damaged] == ["sound.mp4"] and len(found.readable) == 4
    assert str(folder / "run/sound.mp4") in found.damaged[0].fault
    first, _, last = found.lines()
    assert first == "4 videos of 2 classes: jump 2, run 2"
    assert last == f"1 more cannot be read and is left out: {found.damaged[0].fault}"
    for name in ("run0.mp4", "run1.mp4"):
        (folder / "run" / name).write_bytes(b"no video")
    assert "only one class with readable videos, 'jump'" in refusal(folder)
    for name in ("jump0.mp4", "jump1.mp4"):
        (folder / "jump" / name).write_bytes(b"no video")
    assert "none of its 5 videos can be read" in refusal(folder)


def test_a_video_shorter_than_a_clip_is_named_with_the_way_out(tmp_path: Path) -> None:
    found = survey(made(tmp_path, run=[12, 3], jump=[5, 12]))
    check_lengths(found.readable, 3)
    with pytest.raises(UserError, match=r"run1\.mp4: has 3 frames, and a clip takes 8 \(2 such videos\).* --frames 3$"):
        check_lengths(found.readable, 8)
