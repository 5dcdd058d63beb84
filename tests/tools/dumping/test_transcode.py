"""Tests that videos that are encoded again show the same frames at the same times, in small pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from datasets.videos.video import Video
from tests.helpers.make_video import damage, encoder, make_video
from tests.helpers.numbered import number_of, write_late_numbers, write_numbered, write_numbers
from tools.dumping.transcode import CODECS, Encoding, check_encoder, transcode
from utils import system
from utils.errors import FrameError, UserError


def encoded(source: Path, out: Path, **given: Any) -> Path:
    codec = given.pop("codec", "h264")
    transcode(source, out, Encoding(codec, given.pop("crf", CODECS[codec].crf), **given))
    return out


def seen(path: Path) -> list[tuple[float, int]]:
    """The time of each frame, and the number that it shows."""
    video = Video(path)
    found = [(moment, number_of(frame)) for moment, frame in video.frames()]
    assert not video.errors
    return found


def same(one: list[tuple[float, int]], other: list[tuple[float, int]]) -> bool:
    alike = [number for _, number in one] == [number for _, number in other]
    return alike and np.allclose([moment for moment, _ in one], [moment for moment, _ in other], rtol=0, atol=1e-6)


@pytest.mark.alike
@pytest.mark.parametrize("name", ["b_frames.mp4", "vfr.mkv", "edit_list.mp4", "b_frames.ts", "mpeg4_b_frames.avi"])
def test_every_frame_keeps_its_number_and_its_time(name: str, tmp_path: Path) -> None:
    source = write_numbered(tmp_path, name)
    assert same(seen(encoded(source, tmp_path / "out.mp4")), seen(source))


@pytest.mark.alike
@pytest.mark.parametrize("codec", CODECS)
def test_a_video_that_begins_after_its_sound_begins_as_late_without_it(codec: str, tmp_path: Path) -> None:
    source = write_late_numbers(tmp_path / "late.mp4")
    out = encoded(source, tmp_path / "out.mp4", codec=codec)
    assert seen(out)[0] == (1.0, 0) and same(seen(out), seen(source))


@pytest.mark.alike
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_video_of_a_few_frames_keeps_them(codec: str, count: int, tmp_path: Path) -> None:
    source = write_numbers(tmp_path / "short.mp4", "libx264", count=count)
    assert same(seen(encoded(source, tmp_path / "out.mp4", codec=codec)), seen(source))


@pytest.mark.skipif(not system.TASKS.is_dir(), reason="only Linux lists the threads of a process")
@pytest.mark.parametrize("codec", CODECS)
def test_no_encoder_makes_this_process_a_real_time_one(codec: str, tmp_path: Path) -> None:
    """SVT-AV1 does so where it runs as root; CI does."""
    source = write_numbers(tmp_path / "short.mp4", "libx264", count=3)
    policies: set[int] = set()

    def note(number: int, picture: np.ndarray) -> None:
        policies.update(os.sched_getscheduler(int(thread.name)) for thread in system.TASKS.iterdir())

    before = os.sched_getscheduler(0)
    transcode(source, tmp_path / "out.mp4", Encoding(codec, CODECS[codec].crf), seen=note)
    assert policies == {before} == {os.sched_getscheduler(0)}


def test_key_frames_are_close_and_decoding_can_begin_at_each(tmp_path: Path) -> None:
    source = write_numbers(tmp_path / "far.mp4", "libx264", g="250")
    times = transcode(source, tmp_path / "out.mp4", Encoding("h264", 20, key_frames=5)).times
    keys = np.searchsorted(times.stamps, times.keys)
    assert np.diff([*keys, len(times)]).max() <= 5 and times.every_key and times.seekable


def test_a_lower_rate_keeps_the_clock_and_a_slower_video_keeps_its_frames(tmp_path: Path) -> None:
    source = write_late_numbers(tmp_path / "late.mp4")  # 25 frames a second
    found = seen(encoded(source, tmp_path / "out.mp4", fps=10.0))
    assert np.allclose([moment for moment, _ in found], 1 + np.arange(16) / 10, rtol=0, atol=1e-6)
    assert [number for _, number in found[:5]] == [1, 3, 6, 8, 11]  # as of FFmpeg's filter fps, which rounds times
    assert same(seen(encoded(source, tmp_path / "same.mp4", fps=25.0)), seen(source))
    assert not Encoding("h264", 20, fps=29.97).lowers(30_000 / 1001) and Encoding("h264", 20, fps=29.0).lowers(29.97)


@pytest.mark.parametrize(
    ("size", "given", "wanted"),
    [((96, 64), (0, 32), (48, 32)), ((64, 96), (0, 32), (32, 48)), ((96, 64), (0, 256), (96, 64)),
     ((98, 66), (0, 33), (48, 32)), ((96, 64), (40, 30), (40, 30)), ((96, 64), (0, 0), (96, 64))],
)  # fmt: skip
def test_sizes_shrink_to_even_numbers_and_never_grow(
    size: tuple[int, int], given: tuple[int, int], wanted: tuple[int, int], tmp_path: Path
) -> None:
    source = make_video(tmp_path / "a.mp4", frames=2, size=size)
    video = Video(encoded(source, tmp_path / "out.mp4", size=given)).info
    assert (video.width, video.height) == wanted


def write_colours(path: Path, **given: Any) -> Path:
    """Two frames that go smoothly through many colours."""
    across, down = np.arange(96)[None], np.arange(64)[:, None]
    colours = np.stack(np.broadcast_arrays(40 + 2 * across, 60 + 2 * down, 200 - across - down), axis=-1).astype(
        np.uint8
    )
    with encoder(path, "libx264", rate=25, size=(96, 64), pix_fmt="yuv420p", container=None, crf="1") as (
        output,
        stream,
    ):
        for name, value in given.items():
            setattr(stream.codec_context, name, value)
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(colours, format="rgb24")))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("matrix", [{}, {"colorspace": 1}], ids=["BT.601", "BT.709"])
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])  # limited and full range
def test_colours_stay_and_no_copy_is_darker_than_the_one_before(
    codec: str, matrix: dict[str, int], tmp_path: Path
) -> None:
    source = write_colours(tmp_path / "source.mp4", **matrix)
    (_, before), *_ = Video(source).frames()
    for generation in range(3):
        source = encoded(source, tmp_path / f"{generation}.mp4", codec=codec, crf=1)
        (_, after), *_ = Video(source).frames()
        away = after.astype(int) - before
        assert abs(away).mean() < 1.5 and abs(away.mean((0, 1))).max() < 2


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    source = make_video(tmp_path / "turned.mp4", frames=4, rotation=90.0, crf="4")
    (_, before), *_ = Video(source).frames()
    (_, after), *_ = Video(encoded(source, tmp_path / "out.mp4", crf=4)).frames()
    assert after.shape == before.shape == (96, 64, 3)
    assert abs(after.astype(int) - before).mean() < 6


def test_a_damaged_video_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = damage(make_video(tmp_path / "damaged.mp4", frames=48))
    with pytest.raises(FrameError, match=r"damaged\.mp4: "):
        encoded(source, tmp_path / "out.mp4")
    with pytest.raises(FrameError, match=r"none\.mp4: no such file"):
        encoded(tmp_path / "none.mp4", tmp_path / "out.mp4")


def test_what_comes_out_with_other_times_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_late_numbers(tmp_path / "late.mp4")
    monkeypatch.setattr("tools.dumping.transcode._add_silence", lambda output: None)  # its clock begins elsewhere
    with pytest.raises(FrameError, match=r"late\.mp4: its 40 frames came out as 40, or at other times"):
        encoded(source, tmp_path / "out.mp4")


def test_an_encoder_that_is_not_there_and_odd_sides_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--size: the sides of a video must be even numbers"):
        check_encoder(Encoding("h264", 20, size=(341, 256)))
    monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    with pytest.raises(UserError, match="--codec h264: the FFmpeg of PyAV has no encoder libx264; it has mpeg4"):
        check_encoder(Encoding("h264", 20))
