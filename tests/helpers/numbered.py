"""Encodes small videos whose frames show their own number, in every container and codec that PyAV can write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.helpers.make_video import encoder

COUNT, RATE = 40, 25
_WIDTH, _HEIGHT, _COLUMNS = 128, 96, 8
_BITS = 1 << np.arange(_COLUMNS - 1)


def paint(number: int, *, width: int = _WIDTH, height: int = _HEIGHT) -> np.ndarray:
    """Frame `number`, uint8 (height, width, 3): a column for each binary digit, bright for a 1, and one for parity."""
    digits = (number & _BITS) > 0
    bright = np.append(digits, digits.sum() % 2 == 0)
    return np.broadcast_to(np.repeat(np.where(bright, 220, 30), width // _COLUMNS)[:, None], (height, width, 3)).astype(
        np.uint8
    )


def number_of(picture: np.ndarray) -> int:
    """Returns the number that a decoded frame shows; -1 if a part of it is of another frame or of none."""
    width = picture.shape[1] // _COLUMNS
    columns = picture[4:-4, : width * _COLUMNS].reshape(-1, _COLUMNS, width, 3)[:, :, 4:-4].astype(int)
    bright = columns.mean(axis=(0, 2, 3)) > 125
    sharp = (np.abs(columns - np.where(bright, 220, 30)[:, None, None]) < 60).all()
    whole = bool(bright[-1]) == (bright[:-1].sum() % 2 == 0)
    return int(_BITS[bright[:-1]].sum()) if sharp and whole else -1


def write_numbers(
    path: Path,
    codec: str,
    *,
    first: int = 0,
    count: int = COUNT,
    times: Callable[[int], int] = lambda number: number,
    container: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (_WIDTH, _HEIGHT),
    **options: str,
) -> Path:
    given: dict[str, Any] = {"rate": RATE, "size": size, "pix_fmt": pix_fmt, "container": container, **options}
    with encoder(path, codec, **given) as (output, stream):
        for number in range(first, first + count):
            frame = av.VideoFrame.from_ndarray(paint(number, width=size[0], height=size[1]), format="rgb24")
            frame.pts = times(number)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


X264 = {"g": "12", "b": "400k"}
MPEG2 = {"g": "12", "b": "1500k"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "b_frames.mp4": ("libx264", {**X264, "bf": "3"}),
    "no_b_frames.mp4": ("libx264", {**X264, "bf": "0"}),
    "open_gop.mp4": ("libx264", {**X264, "bf": "3", "x264-params": "open-gop=1:scenecut=0:b-pyramid=normal"}),
    "intra_refresh.mp4": ("libx264", {**X264, "bf": "0", "x264-params": "intra-refresh=1:keyint=12:scenecut=0"}),
    "intra_refresh.mkv": ("libx264", {**X264, "bf": "0", "x264-params": "intra-refresh=1:keyint=12:scenecut=0"}),
    "fragmented.mp4": ("libx264", {**X264, "bf": "2", "container": {"movflags": "frag_keyframe+empty_moov"}}),
    "edit_list.mp4": (
        "libx264",
        {
            **X264,
            "bf": "2",
            "first": 0,
            "count": COUNT + 7,
            "times": lambda n: n - 7,
            "container": {"avoid_negative_ts": "disabled"},
        },
    ),
    "late_start.mp4": ("libx264", {**X264, "bf": "2", "times": lambda n: n + 50}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none:keyint=12:bframes=3"}),
    "hevc_open_gop.mkv": ("libx265", {"x265-params": "log-level=none:keyint=12:bframes=3:open-gop=1"}),
    "av1.mp4": ("libsvtav1", {"g": "12", "crf": "8", "preset": "8"}),
    "av1.webm": ("libsvtav1", {"g": "12", "crf": "8", "preset": "8"}),
    "mpeg4.mp4": ("mpeg4", {**MPEG2, "bf": "2"}),
    "b_frames.mkv": ("libx264", {**X264, "bf": "3"}),
    "vfr.mkv": ("libx264", {**X264, "bf": "2", "times": lambda n: n + n // 5 + 3 * (n // 7)}),
    "vfr.mp4": ("libx264", {**X264, "bf": "2", "times": lambda n: n + n // 5 + 3 * (n // 7)}),
    "mpeg2.mkv": ("mpeg2video", {**MPEG2, "bf": "2"}),
    "ffv1.mkv": ("ffv1", {"pix_fmt": "yuv444p"}),
    "vp8.webm": ("libvpx", {"g": "12", "b": "1000k", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "b": "1000k", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "b_frames.mov": ("libx264", {**X264, "bf": "3"}),
    "prores.mov": ("prores", {"pix_fmt": "yuv422p10le"}),
    "mpeg4.avi": ("mpeg4", MPEG2),
    "mpeg4_b_frames.avi": ("mpeg4", {**MPEG2, "bf": "2"}),
    "h264_b_frames.avi": ("libx264", {**X264, "bf": "3"}),
    "mjpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p", "b": "4000k"}),
    "msmpeg4.avi": ("msmpeg4", MPEG2),
    "mpeg1.mpg": ("mpeg1video", MPEG2),
    "mpeg2.mpg": ("mpeg2video", MPEG2),
    "mpeg2_b_frames.mpg": ("mpeg2video", {**MPEG2, "bf": "2"}),
    "mpeg2_b_frames.vob": ("mpeg2video", {**MPEG2, "bf": "2"}),
    "mpeg2_interlaced.mpg": ("mpeg2video", {**MPEG2, "bf": "2", "flags": "+ilme+ildct"}),
    "mpeg2_b_frames.ts": ("mpeg2video", {**MPEG2, "bf": "2"}),
    "b_frames.ts": ("libx264", {**X264, "bf": "3"}),
    "no_b_frames.ts": ("libx264", {**X264, "bf": "0"}),
    "b_frames.m2ts": ("libx264", {**X264, "bf": "3"}),
    "hevc.ts": ("libx265", {"x265-params": "log-level=none:keyint=12:bframes=3"}),
    "interlaced.mp4": ("libx264", {**X264, "bf": "2", "flags": "+ilme+ildct"}),
    "interlaced.ts": ("libx264", {**X264, "bf": "2", "flags": "+ilme+ildct"}),
    "interlaced.m2ts": ("libx264", {**X264, "bf": "2", "flags": "+ilme+ildct"}),
    "dv.avi": ("dvvideo", {"pix_fmt": "yuv420p", "size": (720, 576)}),
    "dv.mov": ("dvvideo", {"pix_fmt": "yuv420p", "size": (720, 576)}),
    "h264.flv": ("libx264", {**X264, "bf": "2"}),
    "sorenson.flv": ("flv", MPEG2),
    "wmv2.wmv": ("wmv2", MPEG2),
    "wmv1.wmv": ("wmv1", MPEG2),
    "h264.wmv": ("libx264", {**X264, "bf": "2"}),
    "mpeg2.mxf": ("mpeg2video", {**MPEG2, "bf": "2"}),
    "h264.3gp": ("libx264", {**X264, "bf": "0"}),
    "snow.nut": ("snow", {"strict": "-2"}),
    "mpeg4_b_frames.nut": ("mpeg4", {**MPEG2, "bf": "2"}),
}


def write_numbered(folder: Path, name: str) -> Path:
    """Writes the video of that name in KINDS, once per folder; returns its path."""
    path = folder / name
    if not path.exists():
        codec, options = KINDS[name]
        write_numbers(path, codec, **options)
    return path


def write_late_numbers(path: Path) -> Path:
    """Writes 40 frames of which the first one is shown after one second of sound."""
    with av.open(str(path), "w") as output:
        sound, stream = output.add_stream("aac", rate=16000), output.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for block in range(48):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * block
            output.mux(sound.encode(frame))
        for number in range(40):
            picture = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            picture.pts = number + RATE
            output.mux(stream.encode(picture))
        output.mux([*sound.encode(None), *stream.encode(None)])
    return path
