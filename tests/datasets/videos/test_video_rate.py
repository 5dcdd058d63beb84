"""Tests choosing frames by time: frame rates, and cuts from a start to an end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datasets.videos.video import Video, at_rate, between
from tests.helpers.make_video import (
    block_position,
    make_video,
)


def ffmpeg_rate(path: Path, fps: int) -> list[int]:
    """Returns the positions that FFmpeg's own filter chooses."""
    positions: list[int] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source, rate, sink = graph.add_buffer(template=stream), graph.add("fps", str(fps)), graph.add("buffersink")
        source.link_to(rate)
        rate.link_to(sink)
        graph.configure()

        def pull() -> None:
            while True:
                try:
                    positions.append(block_position(sink.pull().to_ndarray(format="rgb24")))
                except (av.BlockingIOError, av.EOFError):
                    return

        for frame in container.decode(stream):
            source.push(frame)
            pull()
        source.push(None)
        pull()
    return positions


@pytest.mark.parametrize("fps", [5, 10, 24, 30, 60])
@pytest.mark.parametrize("pts", [None, [0, 1, 2, 6, 7, 8, 9, 20, 21, 22, 23, 24]])
def test_at_rate_is_the_rule_of_ffmpegs_filter(fps: int, pts: list[int] | None, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=12, pts=pts, qp="0")
    video = Video(path)
    frames = list(at_rate(video.frames(), fps, video.info.duration))
    expected = ffmpeg_rate(path, fps)
    assert [block_position(frame) for _, frame in frames] == expected
    assert [time for time, _ in frames] == pytest.approx([k / fps for k in range(len(frames))])


def timed(times: list[float]) -> list[tuple[float, np.ndarray]]:
    return [(time, np.full((1, 1, 3), number, np.uint8)) for number, time in enumerate(times)]


@pytest.mark.parametrize(
    ("times", "fps", "duration", "expected"),
    [
        ([0, 1 / 30, 2 / 30, 3 / 30], 30.0, 4 / 30, [0, 1, 2, 3]),
        ([0, 1 / 30, 2 / 30, 3 / 30], 60.0, 4 / 30, [0, 0, 1, 1, 2, 2, 3, 3]),
        ([0, 0.1, 0.2, 0.3, 0.4, 0.5], 5.0, 0.6, [0, 2, 4]),
        ([0], 30.0, 0.0, [0]),
        ([], 30.0, 0.0, []),
    ],
)
def test_at_rate_drops_and_repeats(times: list[float], fps: float, duration: float, expected: list[int]) -> None:
    assert [int(frame[0, 0, 0]) for _, frame in at_rate(timed(times), fps, duration)] == expected


def test_between_takes_the_start_and_leaves_the_end_and_reads_no_further() -> None:
    read: list[float] = []

    def source() -> object:
        for time, frame in timed([0.0, 0.5, 1.0, 1.5, 2.0, 2.5]):
            read.append(time)
            yield time, frame

    cut = list(between(source(), 0.5, 1.5))  # type: ignore[arg-type]
    assert [(time, int(frame[0, 0, 0])) for time, frame in cut] == [(0.0, 1), (0.5, 2)]
    assert read[-1] == 1.5


def test_fractions_of_a_frame_rate_are_kept(tmp_path: Path) -> None:
    video = Video(make_video(tmp_path / "v.mp4", fps=Fraction(30000, 1001)))  # type: ignore[arg-type]
    assert video.info.fps == pytest.approx(29.97003, abs=1e-4)
