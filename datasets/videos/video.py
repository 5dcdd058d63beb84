"""Decodes whole video files from their first frame to their last, and keeps what the decoder complains about.

Frames are chosen, resized and stored elsewhere; only `at_rate` and `between` are here, because they need the times.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator

import av
import numpy as np

from datasets.places.place import place
from datasets.videos.container import Converter, listening, opened
from datasets.videos.scan import SAME_TIME, VideoInfo, probe, size_changes
from utils.errors import FrameError

_MAX_ERRORS = 20
LONGEST_STILL = 60.0  # seconds that one picture is shown in a video whose times are right

TimedFrame = tuple[float, np.ndarray]


class Video:
    """Reads a video file once, from its first frame to its last.

    Decoding uses the calling thread only; read several videos at a time to use more cores.

    info: what the file contains.
    errors: after reading, what was wrong with the video; empty if it is whole.

    Raises FrameError, naming the file, if it is missing, empty, not a video or has no video stream.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = place(path)
        self.errors: list[str] = []
        with self._listening():
            self.info: VideoInfo = probe(self.path, every_key=False)
        for fault in self.info.faults:
            self._note(fault)

    def frames(self, *, order: str = "rgb") -> Iterator[TimedFrame]:
        """Yields (seconds, upright frame), uint8 (H, W, 3), channels in `order` ("rgb" or "bgr").

        Seconds count from the start of the file, sound included, as players count them. For a damaged video it yields
        what can be decoded and fills `errors`, but raises nothing.
        """
        if order not in ("rgb", "bgr"):
            raise ValueError(f"order={order!r} is neither 'rgb' nor 'bgr'")
        converter, times = Converter(order), self.info.times
        known, step = times.clock if len(times) else np.zeros(0), 1 / (self.info.fps or 25.0)
        sizes: set[tuple[int, int]] = set()
        count, moment = 0, 0.0
        for frame in self._decoded():
            place = times.position_of(frame.pts) if times.seekable else count
            # a damaged video may have frames that `probe` did not find
            moment = float(known[place]) if place is not None and place < len(known) else moment + step
            count += 1
            picture = converter.upright(frame)
            sizes.add(picture.shape[:2])
            yield moment, picture
        if len(sizes) > 1:
            self._note(size_changes(sizes))
        if count == 0:
            self._note("no frame can be decoded")
        elif count < len(times):
            self._note(f"{len(times) - count} of its {len(times)} frames cannot be decoded")

    def _note(self, message: str) -> None:
        message = " ".join(message.split())
        if message and message not in self.errors:
            if len(self.errors) == _MAX_ERRORS:
                self.errors.append("more errors like these")
            elif len(self.errors) < _MAX_ERRORS:
                self.errors.append(message)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Notes the errors that FFmpeg logs or raises inside the `with` block."""
        with listening() as heard:
            try:
                yield
            except av.FFmpegError as error:
                self._note(error.strerror or str(error) or type(error).__name__)
            finally:
                for text in heard():
                    self._note(text)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Yields the frames that can be decoded, with a note about everything else."""
        with opened(self.path) as (container, stream):
            packets = container.demux(stream)
            while True:
                packet: av.Packet | None = None
                frames: list[av.VideoFrame] = []
                with self._listening():
                    packet = next(packets, None)
                    if packet is not None:
                        frames = packet.decode()
                for frame in frames:
                    if frame.is_corrupt:
                        self._note("the decoder marks a frame as damaged")
                    yield frame
                if packet is None:
                    return


class Counted:
    """Passes frames on, counts them and remembers when the last one was shown."""

    def __init__(self, frames: Iterable[TimedFrame]) -> None:
        self._frames = frames
        self.number, self.time = 0, 0.0

    def __iter__(self) -> Iterator[TimedFrame]:
        for time, picture in self._frames:
            self.number, self.time = self.number + 1, time
            yield time, picture


def at_rate(frames: Iterable[TimedFrame], fps: float, duration: float) -> Iterator[TimedFrame]:
    """Resamples to a constant rate: drops or repeats frames so that picture k is the one shown at k / fps seconds.

    It follows FFmpeg's `fps` filter: each time is rounded to the nearest tick (halves up), and of two frames on one
    tick the later one is kept. At least one picture is yielded.

    duration: seconds until which the last frame is shown.
    Raises: FrameError where one picture would be repeated for minutes: times with such a hole are wrong, or a recorder
    has paused.
    """

    def ticks(seconds: float) -> int:
        return math.floor(seconds * fps + 0.5 + SAME_TIME)

    held: TimedFrame | None = None
    tick = 0
    for time, picture in frames:
        due = ticks(time)
        if held is not None and time - held[0] > LONGEST_STILL:
            raise FrameError(
                f"nothing new is shown from {held[0]:g} to {time:g} s, and {fps:g} pictures a second would repeat it; "
                "its times may be wrong: cut the video there, or dump it without --fps"
            )
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
