"""Encodes small videos for tests: a bright block walks from left to right over a dim background, one step a frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np

from tests.helpers.requirements import lacking
from utils.system import usual_priority

STEP, BLOCK = 2, 12


def picture(index: int, *, width: int = 96, height: int = 64) -> np.ndarray:
    """Frame `index`, uint8 (height, width, 3) RGB: a red corner at the top left and the walking block."""
    frame = np.random.default_rng(index).integers(30, 50, (height, width, 3), np.uint8)
    frame[: height // 4, : width // 4] = (220, 30, 30)
    left = STEP * index % (width - BLOCK)
    frame[height // 2 : height // 2 + BLOCK, left : left + BLOCK] = (230, 230, 230)
    return frame


def block_position(frame: np.ndarray) -> int:
    """Where the block of a decoded frame (of the original size) begins."""
    row = frame[frame.shape[0] // 2 + BLOCK // 2].min(axis=1).astype(int)
    return int(np.flatnonzero(row > 135)[0])


@contextmanager
def encoder(
    path: Path,
    codec: str,
    *,
    rate: int,
    size: tuple[int, int],
    pix_fmt: str,
    container: dict[str, str] | None,
    **options: str,
) -> Iterator[tuple[av.container.OutputContainer, av.video.stream.VideoStream]]:
    """Opens a file for one video stream of `size` (width, height), encoded in one thread."""
    if codec not in av.codecs_available:
        lacking(f"this PyAV has no encoder {codec}: pip install -U av")
    if codec == "libsvtav1":
        options.setdefault("preset", "12")
    if codec == "libx264":
        options.setdefault("mbtree", "0")  # with it, the same pictures give other bytes each time
    with usual_priority(), av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.thread_count = 1
        yield output, stream


def make_video(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 24,
    fps: int = 24,
    size: tuple[int, int] = (96, 64),
    pix_fmt: str = "yuv420p",
    rotation: float | None = None,
    mirrored: bool = False,
    pts: list[int] | None = None,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Writes `frames` pictures of `size` (width, height).

    rotation: degrees against the clock that a player turns them by, before it mirrors them left to right. pts: the time
    of each, in frames, for a rate that varies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with encoder(path, codec, rate=fps, size=size, pix_fmt=pix_fmt, container=container, **options) as (output, stream):
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                lacking("this PyAV cannot write a rotation: pip install -U av")
            stream.set_display_rotation(rotation, hflip=mirrored)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width=size[0], height=size[1]), format="rgb24")
            frame.pts = pts[index] if pts else index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def make_video_opencv(path: Path, fourcc: str, *, frames: int = 24) -> Path:
    """The same pictures through OpenCV's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 24, (96, 64))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(cv2.cvtColor(picture(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def truncate(path: Path, share: float = 0.6) -> Path:
    """Cuts the file off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damage(path: Path, *, places: int = 12) -> Path:
    """Inverts single bytes in the middle of the file."""
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(len(data) // 5, len(data) * 3 // 5, places):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


def make_audio(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
