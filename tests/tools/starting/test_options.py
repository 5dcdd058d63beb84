"""An option that cannot work is told before anything is opened, fetched or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.helpers.make_video import make_video
from tests.helpers.publish import use_cache
from tests.helpers.run_tool import run_tool
from tools.starting import choices, start


def never(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("this is too early")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three files that nobody could decode."""
    for label in ("run", "jump"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "videos" / label / f"{label}{number}.mp4").write_bytes(b"no video")
    (tmp_path / "file").touch()
    (tmp_path / "net.pth").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group-regex", "("], "--group-regex '(': missing )"),
        (["--group-regex", "nowhere"], "--group-regex 'nowhere' matches no video"),
        (["--group-regex", "run|jump"], "all videos of class 'jump' are of one group"),
        (["--folds", "1"], "--folds 1: one part cannot both train and test"),
        (["--folds", "99"], "--folds 99: there are only 6 videos"),
        (["--out", "{}/file"], "/file is a file; name a folder"),
        (["--out", "{}/file/deeper/still"], "/file is a file; name a folder"),
        (["--frames", "0"], "0 is not a number from 1 on"),
        (["--weights", "{}/none.pth"], "/none.pth: no such file, and no name of tools.weights"),
        (["--backbone", "resnet81"], "'resnet81' is unknown"),
        (["--backbone", "slow_r50", "--frames", "4"], "--frames: is for image networks"),
        (["--backbone", "csn_r101"], "--backbone csn_r101: no weights are listed under this name"),
        (["--backbone", "kinetics400/x3d_s_13x6_pytorchvideo", "--weights", "{}/net.pth"], "names weights already"),
    ],
)
def test_a_wrong_option_is_told_before_a_video_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    for name in ("look", "find_network", "make_data"):
        monkeypatch.setattr(start, name, never)
    given = [option.format(folder) for option in options]
    said = run_tool("start", folder / "videos", "--out", folder / "out", *given, code=2).stderr
    assert words in said and said.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backbone", "resnet34"], "--backbone resnet34: its weights: http://127.0.0.1:9/"),
        (["--backbone", "resnet34", "--weights", "imagenet1k/resnet34_v1_torchvision"], "error: http://127.0.0.1:9/"),
        (["--backbone", "x3d_s"], "error: http://127.0.0.1:9/"),
    ],
)
def test_that_there_is_no_network_is_told_before_a_video_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    use_cache(folder, monkeypatch)
    monkeypatch.setenv("WEIGHTS_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(start, "look", never)
    said = run_tool("start", folder / "videos", "--out", folder / "out", *options, code=2).stderr
    assert words in said and "cannot be reached" in said and said.count("\n") == 1
    assert not (folder / "out").exists()


def test_more_frames_than_a_video_has_are_told_before_anything_is_fetched_or_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("run", "jump"):
        for number in range(2):
            make_video(tmp_path / "videos" / label / f"{label}{number}.mp4", frames=4, size=(32, 32))
    monkeypatch.setattr(start, "find_network", never)
    monkeypatch.setattr(choices, "measure_sample", never)
    (tmp_path / "net.pth").touch()
    options = ("--weights", tmp_path / "net.pth", "--frames", 100_000_000, "--workers", 1, "--out", tmp_path / "out")
    said = run_tool("start", tmp_path / "videos", *options, code=2).stderr
    assert "has 4 frames, and a clip takes 100000000 (4 such videos)" in said
    assert not (tmp_path / "out").exists()


def test_folds_are_checked_again_where_damaged_videos_leave_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("run", "jump"):
        for number in range(3):
            make_video(tmp_path / "videos" / label / f"{label}{number}.mp4", frames=4, size=(32, 32))
        (tmp_path / "videos" / label / f"{label}2.mp4").write_bytes(b"no video")
    monkeypatch.setattr(start, "find_network", lambda *_: (start.Network("resnet18", True, {}), tmp_path / "net.pth"))
    monkeypatch.setattr(choices, "measure_sample", never)
    (tmp_path / "net.pth").touch()
    network = ("--backbone", "resnet18", "--weights", tmp_path / "net.pth")
    options = (*network, "--frames", 4, "--folds", 6, "--workers", 1, "--out", tmp_path / "out")
    said = run_tool("start", tmp_path / "videos", *options, code=2).stderr
    assert "--folds 6: there are only 4 videos" in said
