"""Frames and seconds of videos whose frames come at other times than k / fps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.spans.files import read_spans, write_spans
from datasets.spans.frame_clock import FrameClock
from datasets.spans.span import SpanTable
from datasets.spans.video_files import VideoFiles
from tests.datasets.spans.examples import video
from tests.helpers.make_video import make_video

SLOW_THEN_FAST = [*range(0, 60, 3), *range(60, 70)]  # 20 frames with 10 a second, then 10 with 30


def test_frames_have_their_own_times_and_go_on_at_the_mean_rate() -> None:
    clock = FrameClock(2.0, np.array([0.5, 1.0, 1.25, 2.0]))
    assert [clock.second(frame) for frame in (-1, 0, 2, 3, 5)] == [-0.5, 0.5, 1.25, 2.0, 3.0]
    assert [clock.frame(second) for second in (0.0, 0.5, 1.1, 1.2, 2.0, 3.0)] == [0, 0, 1, 2, 3, 5]
    steady = FrameClock(25.0)
    assert all(steady.frame(steady.second(frame)) == frame for frame in range(-3, 200))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> VideoFiles:
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mkv", frames=30, fps=30, pts=SLOW_THEN_FAST)
    return VideoFiles(folder)


@pytest.mark.whole
def test_frames_of_a_video_that_is_there_are_read_by_its_own_times(files: VideoFiles, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("video,label,start_frame,end_frame\na,x,10,20\na,y,20,25\n")
    (tmp_path / "l.json").write_text('{"labels": {"a": [{"label": "x", "support": [11, 20]}]}}')
    spans = [(1.0, 2.0), (2.0, 2.167)]
    for name in ("l.csv", "l.json"):
        found = [(span.start, round(span.end, 3)) for span in read_spans([tmp_path / name], videos=files).spans]
        assert found == spans[: len(found)]


@pytest.mark.whole
def test_frames_are_written_as_they_are_read(files: VideoFiles, tmp_path: Path) -> None:
    complete = files.complete(video("a.mkv", (1.0, 2.0, "x"), (2.0, 2.167, "y")))
    (file,) = write_spans(SpanTable((complete,), ("x", "y")), tmp_path / "a.xml", "cvat")
    assert [f'frame="{frame}"' in file.read_text() for frame in (10, 20, 25)] == [True] * 3
    spans = read_spans([file], videos=files).videos[0].spans
    assert [(span.start, round(span.end, 3)) for span in spans] == [(1.0, 2.0), (2.0, 2.167)]


@pytest.mark.whole
def test_label_studio_counts_steps_of_its_rate_in_every_video(files: VideoFiles, tmp_path: Path) -> None:
    complete = files.complete(video("a.mkv", (1.0, 2.0, "x")))
    (file,) = write_spans(SpanTable((complete,), ("x",)), tmp_path / "l.json", "label_studio")
    (span,) = read_spans([file], videos=files).spans
    assert abs(span.start - 1.0) < 0.5 / 12 and abs(span.end - 2.0) < 0.5 / 12
