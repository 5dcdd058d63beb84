"""The videos that labels name are found by part of their path, and nothing else is taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.spans.check import check
from datasets.spans.files import read_labels
from datasets.spans.span import LabeledVideo, SpanTable
from datasets.spans.video_files import VideoFiles
from datasets.videos.scan import VideoTimes
from tests.datasets.spans.examples import EXAMPLES, video
from tests.helpers.make_video import make_video
from utils.errors import ListError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("run/1.mp4", "jump/1.mp4", "jump/two.mkv", "v_abc.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    return tmp_path / "videos"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("run/1.mp4", "run/1.mp4"),
        ("run/1", "run/1.mp4"),
        ("C:\\films\\run\\1.avi", "run/1.mp4"),
        ("/data/x/jump/two.mkv", "jump/two.mkv"),
        ("two", "jump/two.mkv"),
        ("two.mp4", "jump/two.mkv"),
        ("abc", "v_abc.mp4"),
        ("swim/1.mp4", None),
        ("swim/two.mkv", None),
    ],
)
def test_a_name_is_the_end_of_a_path_or_a_path_the_end_of_a_name(folder: Path, name: str, path: str | None) -> None:
    assert VideoFiles(folder).path(name) == path


def test_a_whole_path_is_that_video_whatever_else_ends_like_it(folder: Path) -> None:
    (folder / "1.mp4").touch()
    files = VideoFiles(folder)
    assert files.path("1.mp4") == files.path("1") == "1.mp4" and files.path("run/1.mp4") == "run/1.mp4"


def test_a_name_of_two_videos_is_an_error(folder: Path) -> None:
    with pytest.raises(ListError, match=r"1\.mp4: may be (jump|run)/1\.mp4 or"):
        VideoFiles(folder).path("1.mp4")
    with pytest.raises(ListError, match="no such folder; --videos"):
        VideoFiles(folder / "none")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video of 30 frames, ten a second, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", frames=30, fps=10)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_video_tells_its_rate_and_its_length(videos: Path, tmp_path: Path) -> None:
    files = VideoFiles(videos)
    assert files.complete(video("a")) == LabeledVideo("a", duration=3.0, fps=10.0, num_frames=30)
    assert files.complete(video("gone")) == video("gone")
    (tmp_path / "l.csv").write_text("video,label,start_frame,end_frame\na,x,10,20\n")
    assert [(s.start, s.end) for s in read_labels([tmp_path / "l.csv"], videos=files, fps=25).table.spans] == [
        (1.0, 2.0)
    ]


def test_frames_of_a_video_that_begins_after_its_sound_count_from_the_start_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = VideoTimes(np.arange(4), np.zeros(1, np.int64), 0.25, True, begins=0.5)
    monkeypatch.setattr("datasets.spans.video_files.index_videos", lambda paths: [times])
    clock = VideoFiles(folder).clock("two")
    assert clock is not None and clock.fps == 4.0
    assert [clock.second(frame) for frame in (0, 3, 4)] == [0.5, 1.25, 1.5] and clock.frame(0.5) == 0


def test_videos_that_are_not_there_or_not_those_that_were_labelled_are_faults(videos: Path) -> None:
    labelled = (
        video("a", (2.0, 4.0, "x"), duration=30.0),
        video("broken", (0.0, 1.0, "x")),
        video("gone", (0.0, 1.0, "x")),
    )
    table, faults = check(SpanTable(labelled, ("x",)), VideoFiles(videos))
    assert [one.name for one in table.videos] == ["a"] and [span.end for span in table.spans] == [3.0]
    said = [fault.message for fault in faults]
    assert "a lasts 3.00 s, but its labels say 30.00 s; they belong to another cut of it" in said[0]
    assert "which lasts 3.00 s" in said[1] and "broken.mp4" in said[2]
    assert f"the video gone is not below {videos}; add it or remove its labels" in said[3]


def test_a_video_that_is_not_there_is_the_fault_of_labels_in_frames(videos: Path, tmp_path: Path) -> None:
    path = EXAMPLES["cvat"].write(tmp_path)
    (fault,) = read_labels([path], videos=VideoFiles(videos)).faults
    assert (
        f"the video clip 1.mp4 is not below {videos}; add it" in fault.message and fault.fix == "the video is left out"
    )
