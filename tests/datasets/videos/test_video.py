"""Tests reading whole videos. Real encoders write the files, so that they are like the files of users."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import av.logging
import cv2
import numpy as np
import pytest

from datasets.videos.container import listening
from datasets.videos.reader import find_reader
from datasets.videos.scan import scan
from datasets.videos.video import Video
from tests.helpers.make_video import (
    STEP,
    block_position,
    damage,
    make_audio,
    make_video,
    make_video_opencv,
    picture,
    truncate,
)
from tests.helpers.requirements import CLIPS, lacking, needs_clips
from utils.errors import FrameError

CODECS = {
    "h264.mp4": ("libx264", {}),
    "h264_b_frames.mkv": ("libx264", {"bf": "3"}),
    "h264_10bit.mp4": ("libx264", {"pix_fmt": "yuv420p10le"}),
    "h264.ts": ("libx264", {}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none"}),
    "hevc_10bit.mp4": ("libx265", {"pix_fmt": "yuv420p10le", "x265-params": "log-level=none"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "b": "800k"}),
    "mpeg2.mpg": ("mpeg2video", {"fps": 25}),
    "mjpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "vp8.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "400k"}),
    "vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "av1.mp4": ("libsvtav1", {}),
    "grey.mkv": ("ffv1", {"pix_fmt": "gray"}),
    "grey_16bit.mkv": ("ffv1", {"pix_fmt": "gray16le"}),
    "odd_size.mkv": ("ffv1", {"pix_fmt": "yuv444p", "size": (97, 65)}),
}


def encoder(name: str) -> str:
    try:
        av.Codec(name, "w")
    except ValueError:
        lacking(f"this PyAV has no encoder {name}: pip install -U av")
    return name


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_is_decoded_in_order(name: str, tmp_path: Path) -> None:
    codec, options = CODECS[name]
    video = Video(make_video(tmp_path / name, encoder(codec), frames=30, **options))
    frames = list(video.frames())
    width, height = options.get("size", (96, 64))
    assert [block_position(frame) for _, frame in frames] == pytest.approx([STEP * n for n in range(30)], abs=2)
    assert all(frame.shape == (height, width, 3) and frame.dtype == np.uint8 for _, frame in frames)
    fps = options.get("fps", 24)
    # in an AVI file with B-frames the clock begins a frame before the first picture, for FFmpeg too
    begins = 1 / fps if name == "mpeg4.avi" else 0
    assert [time for time, _ in frames] == pytest.approx(begins + np.arange(30) / fps, abs=1e-3)
    assert (video.info.width, video.info.height) == (width, height)
    assert video.info.fps == pytest.approx(fps) and video.info.duration == pytest.approx(30 / fps, abs=2e-2)
    assert video.errors == []


@pytest.mark.parametrize("fourcc", ["mp4v", "MJPG"])
def test_what_opencv_writes_is_read(fourcc: str, tmp_path: Path) -> None:
    path = make_video_opencv(tmp_path / ("v.mp4" if fourcc == "mp4v" else "v.avi"), fourcc)
    assert [block_position(frame) for _, frame in Video(path).frames()] == pytest.approx(range(0, 48, 2), abs=1)


def test_frames_are_rgb_or_bgr_as_asked(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4")
    rgb, bgr = (next(iter(Video(path).frames(order=order)))[1] for order in ("rgb", "bgr"))
    assert rgb[4, 4] == pytest.approx(picture(0)[4, 4], abs=12)
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])
    with pytest.raises(ValueError, match="order"):
        next(iter(Video(path).frames(order="xyz")))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_applied_once(rotation: int, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", rotation=rotation)
    oracle = cv2.VideoCapture(str(path))
    assert oracle.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    expected = oracle.read()[1][..., ::-1]
    video = Video(path)
    frame = next(iter(video.frames()))[1]
    assert frame.shape == ((96, 64, 3) if rotation % 180 else (64, 96, 3)) == (video.info.height, video.info.width, 3)
    assert np.abs(frame.astype(int) - expected).mean() < 3
    turned = np.rot90(picture(0), rotation // 90)  # the matrix rotates counterclockwise
    assert np.abs(frame.astype(int) - turned).mean() < 8


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_mirrored_videos_are_shown_mirrored(rotation: int, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", rotation=rotation, mirrored=True)
    upright = np.rot90(picture(0), rotation // 90)[:, ::-1]
    assert np.abs(next(iter(Video(path).frames()))[1].astype(int) - upright).mean() < 8
    clip = find_reader("auto")(path, scan(path), np.array([0]))[0]
    assert np.abs(clip.astype(int) - upright).mean() < 8, "torchcodec only turns"


@needs_clips
def test_a_phone_video_stands_upright() -> None:
    video = Video(CLIPS / "video_90.mov")
    frames = [frame for _, frame in video.frames()]
    assert len(frames) == 3 and frames[0].shape == (568, 320, 3)


@needs_clips
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("demo.mp4", 280),
        ("demo_spatiotemporal_det.mp4", 57),
        ("test_video_structuralize.mp4", 300),
        ("nasa_13013.mp4", 325),
        ("flipping_a_pancake.mkv", 310),
        ("h264_10bits.mp4", 30),
    ],
)
def test_real_clips_are_decoded_whole(name: str, count: int) -> None:
    video = Video(CLIPS / name)
    assert sum(1 for _ in video.frames()) == count
    assert video.errors == []


@needs_clips
def test_the_damaged_clip_is_reported_and_gives_what_it_has(capfd: pytest.CaptureFixture[str]) -> None:
    video = Video(CLIPS / "corrupted.mp4")
    count = sum(1 for _ in video.frames())
    assert 28 <= count < 50
    assert any("Invalid NAL unit size" in error for error in video.errors)
    assert capfd.readouterr() == ("", "")  # what the decoders say is collected, not printed


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", {}),
        ("v.mkv", "libx264", {"bf": "3"}),
        ("v.avi", "mpeg4", {"qmax": "2"}),
        ("av1.mp4", "libsvtav1", {}),
        ("v.mkv", "ffv1", {"pix_fmt": "yuv444p"}),
    ],
)
def test_damaged_data_is_noticed_though_all_frames_come(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    video = Video(damage(make_video(tmp_path / name, encoder(codec), frames=48, **options)))
    assert sum(1 for _ in video.frames()) > 0
    assert video.errors


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("v.mp4", "libx264", {"movflags": "faststart"}),
        ("v.mkv", "libx264", {}),
        ("v.avi", "mpeg4", {}),
        ("v.webm", "libvpx-vp9", {}),
        ("v.flv", "flv", {}),
    ],
)
def test_a_file_that_was_cut_off_is_noticed(name: str, codec: str, container: dict[str, str], tmp_path: Path) -> None:
    options = {"qmax": "2"} if codec == "mpeg4" else {}  # a larger file, so that the cut is after AVI's long header
    video = Video(truncate(make_video(tmp_path / name, encoder(codec), frames=48, container=container, **options)))
    assert 0 < sum(1 for _ in video.frames()) < 48
    assert video.errors


def test_complaints_of_one_video_do_not_reach_the_next(tmp_path: Path) -> None:
    bad = damage(make_video(tmp_path / "bad.mp4", frames=48))
    good = make_video(tmp_path / "good.mp4")
    for _ in range(2):
        first, second = Video(bad), Video(good)
        list(first.frames()), list(second.frames())
        assert first.errors and not second.errors


def test_a_thread_hears_what_ffmpeg_says_after_another_has_stopped_listening() -> None:
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first, second = listening(), listening()
        one.submit(first.__enter__).result()
        heard = other.submit(second.__enter__).result()
        one.submit(first.__exit__, None, None, None).result()
        assert av.logging.get_level() == av.logging.ERROR
        other.submit(av.logging.log, av.logging.ERROR, "h264", "concealing 3 errors").result()
        assert other.submit(heard).result() == ["h264: concealing 3 errors"]
        other.submit(second.__exit__, None, None, None).result()
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", "été\n跑.mp4".encode()])
def test_any_name_that_a_file_can_have_is_read(name: bytes, tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4").rename(tmp_path / os.fsdecode(name))
    video = Video(path)
    assert sum(1 for _ in video.frames()) == 24 and not video.errors


def test_what_cannot_be_opened_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    make_audio(tmp_path / "audio.mp4")
    truncate(make_video(tmp_path / "no_index.mp4"))
    for name, reason in (
        ("missing.mp4", "no such file"),
        ("empty.mp4", "empty"),
        ("text.mp4", "cannot be read as a video"),
        ("audio.mp4", "no video stream"),
        ("no_index.mp4", "cannot be read as a video"),
    ):
        with pytest.raises(FrameError, match=reason) as error:
            Video(tmp_path / name)
        assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_names_with_colons_percents_and_other_letters_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b.mp4", "rtsp:x.mp4", "100%d.mp4", "视频 é.mp4", "-i.mp4"):
        make_video(tmp_path / name, frames=3)
        assert sum(1 for _ in Video(Path(name)).frames()) == 3


def test_standard_error_works_again_after_decoding(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        frames = Video(make_video(tmp_path / "v.mp4")).frames()
        next(frames)
        os.write(2, b"still here\n")
        frames.close()  # type: ignore[attr-defined]
    os.write(2, b"and after\n")
    assert capfd.readouterr().err == "still here\n" * 3 + "and after\n"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
