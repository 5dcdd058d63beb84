"""Decodes whole video files: with OpenCV first, with PyAV if OpenCV stops early. All complaints of both are kept.

Containers state wrong numbers of frames, so the packets and the decoded frames tell what a video contains. Frames are
chosen, resized and stored elsewhere; only `at_rate` and `between` are here, because they need the times.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np

from utils.errors import FrameError

# the H.264 decoder says this about its list of reference pictures, which it repairs without damage to the picture
_HARMLESS = ("mmco: unref short failure",)
_MAX_ERRORS = 20
SAME_TIME = 1e-6  # seconds; times are rounded copies of exact fractions

TimedFrame = tuple[float, np.ndarray]


@dataclass(frozen=True)
class VideoInfo:
    """Describes the first video stream as its packets show it, not as the container's header claims.

    codec: FFmpeg's name of the codec.
    width, height: in pixels, after rotation.
    fps: average frames per second; 0.0 if unknown.
    duration: seconds from the first frame to the end of the last one.
    times: float64 (num_packets,), seconds of the packets in display order; the first is 0.
    claimed_frames: number of frames in the header, often 0 or wrong.
    quarter_turns: clockwise turns, 0..3, that make a frame upright, after mirroring it if `mirrored`.
    mirrored: whether frames are to be mirrored left to right.
    """

    codec: str
    width: int
    height: int
    fps: float
    duration: float
    times: np.ndarray
    claimed_frames: int
    quarter_turns: int
    mirrored: bool


class Video:
    """Reads a video file once, from its first frame to its last.

    Decoding uses the calling thread only; read several videos at a time to use more cores.

    info: what the packets show.
    errors: after reading, what was wrong with the video; empty if it is whole.
    decoder: after reading, what decoded it: "opencv", "pyav" or "opencv+pyav".

    Raises FrameError, naming the file, if it is missing, empty, not a video or has no video stream.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.errors: list[str] = []
        self.decoder = ""
        if not self.path.is_file():
            raise FrameError(f"{self.path}: no such file")
        if self.path.stat().st_size == 0:
            raise FrameError(f"{self.path}: the file is empty (0 bytes)")
        # FFmpeg takes what is before a colon for a protocol; an absolute path begins with a slash
        self._name = str(self.path.absolute())
        self.info = self._probe()

    def frames(self, *, order: str = "rgb") -> Iterator[TimedFrame]:
        """Yields (seconds since the first frame, upright frame), uint8 (H, W, 3), channels in `order` ("rgb" or "bgr").

        For a damaged video it yields what can be decoded and fills `errors`, but raises nothing.
        """
        if order not in ("rgb", "bgr"):
            raise ValueError(f"order={order!r} is neither 'rgb' nor 'bgr'")
        count = 0
        with _StandardError() as complaints:
            for frame in self._opencv(complaints):
                time = self.info.times[count] if count < len(self.info.times) else count / (self.info.fps or 1)
                count += 1
                yield float(time), self._upright(frame if order == "bgr" else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            messages = complaints.read()
        self.decoder = "opencv" if count else ""
        if count >= max(len(self.info.times), 1):
            for message in messages:
                self._note(message)
            return
        # fewer frames than packets: OpenCV cannot decode it or stopped at damage, or some packets show no picture (VP8)
        total = count
        for total, (time, picture) in enumerate(self._pyav(order), 1):
            if total > count:
                yield time, self._upright(picture)
        if total > count:
            self.decoder = "opencv+pyav" if count else "pyav"
        if total == 0:
            self._note("no frame can be decoded")

    def _note(self, message: str) -> None:
        message = " ".join(message.split())
        if message and message not in self.errors and not message.endswith(_HARMLESS):
            if len(self.errors) == _MAX_ERRORS:
                self.errors.append("more errors like these")
            elif len(self.errors) < _MAX_ERRORS:
                self.errors.append(message)

    def _note_ffmpeg(self, error: Exception) -> None:
        self._note(getattr(error, "strerror", None) or str(error) or type(error).__name__)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Notes the errors that PyAV's FFmpeg logs inside the `with` block."""
        level, skipping = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)  # a skipped repeat may be a message about another video
        logs: list[Any] = []
        try:
            with av.logging.Capture() as logs:
                yield
        finally:
            av.logging.set_level(level)
            av.logging.set_skip_repeated(skipping)
            for _, source, message in logs:
                self._note(f"{source}: {message}")

    def _probe(self) -> VideoInfo:
        moments: list[float] = []
        first: av.VideoFrame | None = None
        try:
            with self._listening(), av.open(self._name) as container:
                if not container.streams.video:
                    raise FrameError(f"{self.path}: has no video stream")
                stream = container.streams.video[0]
                context, base = stream.codec_context, float(stream.time_base or 0)
                rate, claimed, span = stream.average_rate, stream.frames, 0.0
                try:
                    for packet in container.demux(stream):
                        if not packet.size:
                            continue
                        if packet.is_corrupt:
                            self._note("the container marks a packet as damaged or cut off")
                        if packet.is_discard:  # outside the edit list: it is decoded but never shown
                            continue
                        stamp = packet.pts if packet.pts is not None else packet.dts
                        moments.append(stamp * base if stamp is not None else np.nan)
                        span = float(packet.duration or 0) * base
                except av.FFmpegError as error:
                    self._note_ffmpeg(error)
                codec, width, height = context.name, context.width, context.height
            with contextlib.suppress(av.FFmpegError), av.open(self._name) as container:
                first = next(container.decode(video=0), None)
        except av.FFmpegError as error:
            raise FrameError(f"{self.path}: cannot be read as a video ({error.strerror or error})") from error
        fps = float(rate) if rate else 0.0
        times = np.sort(np.asarray(moments, np.float64))
        if not np.isfinite(times).all():  # some containers give only every second packet a time
            times = np.arange(len(times)) / (fps or 25.0)
        times = times - times[0] if len(times) else times
        if not fps and len(times) > 1 and times[-1] > 0:
            fps = (len(times) - 1) / float(times[-1])
        turns, mirrored = orientation(first)
        if turns % 2:
            width, height = height, width
        duration = float(times[-1]) + (span or (1 / fps if fps else 0.0)) if len(times) else 0.0
        return VideoInfo(codec, width, height, fps, duration, times, claimed, turns, mirrored)

    def _opencv(self, complaints: _StandardError) -> Iterator[np.ndarray]:
        # OpenCV reads this variable with its first video; if it is set, messages go to the buffered standard output
        os.environ.pop("OPENCV_FFMPEG_LOGLEVEL", None)
        if (
            os.fsencode(self._name).decode("utf-8", "replace") != self._name
        ):  # OpenCV crashes on names that are not UTF-8
            return
        with complaints:
            # with one thread the decoder prints its messages while `read` runs
            capture = cv2.VideoCapture(self._name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            # frames are rotated here for both decoders: PyAV never does it, and OpenCV only in some versions
            if not capture.isOpened() or not capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0):
                return
            while True:
                with complaints:
                    good, frame = capture.read()
                if not good:
                    return
                yield frame
        finally:
            capture.release()

    def _pyav(self, order: str) -> Iterator[TimedFrame]:
        with contextlib.ExitStack() as stack:
            try:
                container = stack.enter_context(av.open(self._name))
            except av.FFmpegError as error:  # unexpected, as `_probe` could open it
                self._note_ffmpeg(error)
                return
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            packets = container.demux(stream)
            start: float | None = None
            count = 0
            while True:
                frames: list[av.VideoFrame] = []
                with self._listening():
                    try:
                        packet = next(packets, None)
                    except av.FFmpegError as error:
                        self._note_ffmpeg(error)
                        packet = None
                    if packet is not None:
                        try:
                            frames = packet.decode()
                        except av.FFmpegError as error:
                            self._note_ffmpeg(error)
                for frame in frames:
                    if frame.is_corrupt:
                        self._note("the decoder marks a frame as damaged")
                    moment = frame.time if frame.time is not None else count / (self.info.fps or 25.0)
                    start = moment if start is None else start
                    count += 1
                    yield moment - start, frame.to_ndarray(format=f"{order}24")
                if packet is None:
                    return

    def _upright(self, frame: np.ndarray) -> np.ndarray:
        if self.info.mirrored:
            frame = frame[:, ::-1]
        return np.ascontiguousarray(np.rot90(frame, -self.info.quarter_turns))


def at_rate(frames: Iterable[TimedFrame], fps: float, duration: float) -> Iterator[TimedFrame]:
    """Resamples to a constant rate: drops or repeats frames so that picture k is the one shown at k / fps seconds.

    It follows FFmpeg's `fps` filter: each time is rounded to the nearest tick (halves up), and of two frames on one
    tick the later one is kept. At least one picture is yielded.

    duration: seconds until which the last frame is shown.
    """

    def ticks(seconds: float) -> int:
        return math.floor(seconds * fps + 0.5 + SAME_TIME)

    held: TimedFrame | None = None
    tick = 0
    for time, picture in frames:
        due = ticks(time)
        while held is not None and tick < due:
            yield tick / fps, held[1]
            tick += 1
        held = (time, picture)
    if held is not None:
        for last in range(tick, max(ticks(duration), 1)):
            yield last / fps, held[1]


def between(frames: Iterable[TimedFrame], start: float, end: float) -> Iterator[TimedFrame]:
    """Yields the frames from `start` until before `end` seconds and reads no further; times count from `start`."""
    for time, picture in frames:
        if time >= end - SAME_TIME:
            return
        if time >= start - SAME_TIME:
            yield max(time - start, 0.0), picture


def orientation(frame: av.VideoFrame | None) -> tuple[int, bool]:
    """Returns (clockwise quarter turns, mirrored) from the display matrix of a frame, rounded to quarter turns."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX") if frame is not None else None
    if matrix is None:
        return 0, False
    # 16.16 fixed point, row vectors: (x, y) on the screen = (a x + c y, b x + d y), with y pointing down
    a, b, _, c, d = np.frombuffer(bytes(matrix)[:20], np.int32).astype(np.float64)
    mirrored = a * d - b * c < 0
    if mirrored:  # the frame is mirrored first (x to -x); the remaining matrix is a rotation
        a, b = -a, -b
    return round(np.degrees(np.arctan2(b, a)) / 90) % 4, bool(mirrored)


class _StandardError:
    """Collects what C libraries print to file descriptor 2; `read` returns it line by line.

    OpenCV has no other way to report that it decoded damaged data. The outer `with` opens and closes the file, and
    inner ones redirect the output to it.
    """

    def __init__(self) -> None:
        self._depth = 0

    def __enter__(self) -> _StandardError:
        self._depth += 1
        if self._depth == 1:
            self._file = tempfile.TemporaryFile()
            self._saved = os.dup(2)
        else:
            os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        os.dup2(self._saved, 2)
        if self._depth == 0:
            os.close(self._saved)
            self._file.close()

    def read(self) -> list[str]:
        """Returns the lines so far without the decoder's address in them, so that equal messages are equal."""
        self._file.seek(0)
        lines = self._file.read().decode("utf-8", "replace").splitlines()
        return [line.partition(" @ 0x")[0].lstrip("[") + ":" + line.partition("]")[2] for line in lines if "] " in line]
