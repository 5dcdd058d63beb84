"""Finds out what a video file contains: when each of its frames is shown, where decoding can begin, how pictures look.

Where a container keeps the time of every frame, its packets give the times, and key frames are decoded, each one alone:
decoding can begin at one that gives its own picture with nothing before it. Other files are decoded from start to end,
because their packets have the times of other frames (AVI), guesses (MPEG), or times that start again (joined files).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import PictureType

from datasets.places.files import without_version
from datasets.places.place import Place
from datasets.videos.container import bits_of, decode, opened, orientation
from utils.errors import FrameError

SAME_TIME = 1e-6  # seconds; times are rounded copies of exact fractions
_KEEP_TIMES = ("mov", "matroska")  # demuxers of containers that keep a time for every frame, and find key frames by it
_COMPLETE = (PictureType.I, PictureType.SI, PictureType.BI)
_DECODED = ("vp8",)  # some packets show no picture, so only decoding tells the frames


@dataclass(frozen=True)
class VideoTimes:
    """Holds the times of the n frames of one video in display order.

    stamps: int64 (n,), in ticks of `tick` seconds, increasing.
    keys: int64, the stamps of the key frames, at which decoding can begin.
    tick: seconds.
    seekable: False if only counting from the start finds a frame.
    begins: seconds from the start of the file, sound included, to the first frame.
    stream: number of the stream in the file.
    size: height and width of the upright pictures.
    every_key: False if the container calls more frames key frames than `keys`.
    """

    stamps: np.ndarray
    keys: np.ndarray
    tick: float
    seekable: bool
    begins: float = 0.0
    stream: int = 0
    size: tuple[int, int] = (0, 0)
    every_key: bool = True

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def seconds(self) -> np.ndarray:
        """The seconds at which each frame appears, float64 (n,); the first one appears at 0."""
        return (self.stamps - self.stamps[0]) * self.tick

    @property
    def clock(self) -> np.ndarray:
        """The seconds at which each frame appears, float64 (n,), from the start of the file, sound included."""
        return self.begins + self.seconds

    @property
    def duration(self) -> float:
        """The length in seconds if the last frame is shown as long as the average one."""
        return float(self.seconds[-1]) * len(self) / (len(self) - 1) if len(self) > 1 else 0.0

    def frames_between(self, start: float, end: float) -> tuple[int, int]:
        """Returns the first frame from `start` seconds of the file on, and the first one from `end` seconds on."""
        moments = self.stamps[0] + (np.array([start, end]) - self.begins - SAME_TIME) / self.tick
        first, last = np.searchsorted(self.stamps, moments).tolist()
        return first, last

    def position_of(self, stamp: int | None) -> int | None:
        """Returns which frame has this stamp; None if none has."""
        position = 0 if stamp is None else int(np.searchsorted(self.stamps, stamp))
        return position if position < len(self) and self.stamps[position] == stamp else None


@dataclass(frozen=True)
class VideoInfo:
    """Describes a video file as its packets and pictures show it, not as its header claims.

    times: of the frames; of those before the first fault, if it had to be decoded.
    codec: FFmpeg's name of the codec.
    width, height: in pixels, after rotation.
    fps: average frames per second; 0.0 if unknown.
    duration: seconds from the first frame to the end of the last one.
    interlaced: whether a picture holds the lines of two moments.
    pixel_aspect: width of a pixel divided by its height.
    faults: what is wrong with the file.
    notes: what is unusual about it, and what that means.
    bits: of a colour.
    """

    times: VideoTimes
    codec: str
    width: int
    height: int
    fps: float
    duration: float
    interlaced: bool
    pixel_aspect: Fraction
    faults: list[str]
    notes: list[str]
    bits: int


def scan(path: str | os.PathLike[str]) -> VideoTimes:
    """Returns the times of one video's frames.

    Raises: FrameError if it is missing, not a video, without a frame, or damaged where it had to be decoded.
    """
    path = without_version(path)
    info = probe(path, every_key=True)
    if info.faults or not len(info.times):
        raise FrameError(f"{path}: {info.faults[0] if info.faults else 'contains no frames'}")
    return info.times


def probe(path: Place, *, every_key: bool) -> VideoInfo:
    """Reads a file from start to end and says what it contains.

    every_key: decode every key frame, which seeking needs, and not only the first one.

    Raises: FrameError if it is missing, not a video, or has no video stream.
    """
    faults: list[str] = []
    notes: list[str] = []
    with opened(path) as (container, stream):
        packets, looks = _packets(container, stream, faults, every_key=every_key)
        codec, reorders = stream.codec_context.name, stream.codec_context.has_b_frames
        rate, tick = float(stream.average_rate or 0), float(stream.time_base or 0)
        aspect, size = stream.sample_aspect_ratio, (stream.codec_context.height, stream.codec_context.width)
        bits = bits_of(stream)
        start, number, demuxer = container.start_time or 0, stream.index, container.format.name.split(",")[0]
    keeps_times = demuxer in _KEEP_TIMES and tick > 0
    stamps: np.ndarray | None = np.sort(packets.stamps[packets.stamped])
    if not keeps_times or codec in _DECODED or not _tell_frames(packets, reorders=reorders):
        stamps, count, looks = _decoded(path, faults)
    else:
        count = len(packets.stamps)
    times = _times(stamps, count, packets, tick, rate, keeps_times=keeps_times)
    if times.tick == tick:
        begins = max(float(times.stamps[0]) * tick - start / av.time_base, 0.0) if len(times) else 0.0
        times = replace(times, begins=begins)
    elif len(times) > 1:
        notes.append(f"the time stamps of its frames do not increase, so they are counted, {1 / times.tick:g} a second")
    sizes = sorted({look.size for look in looks})
    if len(sizes) > 1:
        faults.append(size_changes(sizes))
    first = next(iter(looks), _Look(size, False))
    times = replace(times, stream=number, size=first.size)
    if first.interlaced:
        notes.append(
            "it is interlaced, so its pictures hold the lines of two moments; `ffmpeg -vf bwdif` takes them apart"
        )
    pixel = Fraction(aspect.numerator, aspect.denominator) if aspect else Fraction(1)
    if pixel != 1:
        notes.append(f"its pixels are {pixel.numerator}:{pixel.denominator} as wide as high, and are taken as square")
    seconds = times.seconds if len(times) else np.zeros(1)
    fps = rate or ((len(seconds) - 1) / float(seconds[-1]) if seconds[-1] > 0 else 0.0)
    shown = float(packets.spans[-1]) * tick if len(packets.spans) and not notes else 0.0
    duration = float(seconds[-1]) + (shown or (1 / fps if fps else 0.0)) if len(times) else 0.0
    height, width = first.size
    return VideoInfo(times, codec, width, height, fps, duration, first.interlaced, pixel, faults, notes, bits)


def size_changes(sizes: Collection[tuple[int, int]]) -> str:
    """Says that pictures have several sizes, (height, width)."""
    return f"the size of the picture changes within the video: {sorted(sizes)} (height, width)"


class _Packets(NamedTuple):
    """Holds the packets of n frames that are shown, in the order of the file, as arrays: hours have many.

    stamps: int64 (n,), 0 where it has none. stamped: bool (n,), whether it has one.
    spans: int64 (n,), ticks for which its frame is shown.
    is_key, is_start: bool (n,), key frames, and those that give their own picture with nothing before them.
    """

    stamps: np.ndarray
    stamped: np.ndarray
    spans: np.ndarray
    is_key: np.ndarray
    is_start: np.ndarray


class _Look(NamedTuple):
    size: tuple[int, int]  # height, width of the upright picture
    interlaced: bool


_Looks = dict[_Look, None]  # those that frames have, each once, in the order in which they come


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, faults: list[str], *, every_key: bool
) -> tuple[_Packets, _Looks]:
    """Returns the packets of frames that are shown, and the looks of decoded key frames."""
    stamps, spans, flags = array("q"), array("q"), bytearray()
    looks: _Looks = {}
    intra_only = stream.codec_context.codec.intra_only
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_corrupt:
                faults.append("the container marks a packet as damaged or cut off, as where files were joined")
            if packet.is_discard:  # outside the edit list: it is decoded but never shown
                continue
            is_start = packet.is_keyframe
            if is_start and not (looks and (intra_only or not every_key)):
                frame = _alone(stream, packet)
                is_start = frame is not None and frame.pts == packet.pts and frame.pict_type in _COMPLETE
                looks |= {_look(frame): None} if frame is not None else {}
            stamps.append(packet.pts or 0)
            spans.append(packet.duration or 0)
            flags.append((packet.pts is not None) + 2 * packet.is_keyframe + 4 * is_start)
    except av.FFmpegError as error:
        faults.append(f"cannot be read to its end: {error.strerror or error}")
    bits = np.frombuffer(flags, np.uint8)
    numbers = (
        np.frombuffer(stamps, np.int64),
        bits & 1 > 0,
        np.frombuffer(spans, np.int64),
        bits & 2 > 0,
        bits & 4 > 0,
    )
    return _Packets(*numbers), looks


def _alone(stream: av.VideoStream, packet: av.Packet) -> av.VideoFrame | None:
    """Decodes a packet with nothing before it and nothing after it."""
    try:
        frames = [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]
    except av.FFmpegError:
        frames = []
    stream.codec_context.flush_buffers()
    return frames[0] if len(frames) == 1 and not frames[0].is_corrupt else None


def _look(frame: av.VideoFrame) -> _Look:
    turned = orientation(frame)[0] % 2
    size = (frame.width, frame.height) if turned else (frame.height, frame.width)
    return _Look(size, bool(frame.interlaced_frame))


def _tell_frames(packets: _Packets, *, reorders: bool) -> bool:
    """Returns whether the stamps of the packets are those of the frames.

    They are not if some are missing or equal, if they only grow although the codec puts frames into another order, or
    if the first ones belong to frames that cannot be decoded because their group begins later.
    """
    stamps = packets.stamps
    if not len(stamps) or not packets.stamped.all() or len(np.unique(stamps)) < len(stamps) or not packets.is_key[0]:
        return False
    return bool(stamps.min() == stamps[0] and not (reorders and (np.diff(stamps) > 0).all()))


def _times(
    stamps: np.ndarray | None, count: int, packets: _Packets, tick: float, rate: float, *, keeps_times: bool
) -> VideoTimes:
    """Returns the times of `count` frames with these stamps; if they do not increase, frames are counted at the rate.

    stamps: None if a frame has none. keeps_times: whether seeking finds a frame by its stamp.
    """
    if not tick or stamps is None or (np.diff(stamps) <= 0).any():
        counted = np.arange(count, dtype=np.int64)
        return VideoTimes(counted, counted[:1], 1 / (rate or 25.0), False, every_key=False)
    if not keeps_times:
        return VideoTimes(stamps, stamps[:1], tick, False, every_key=False)
    keys = np.intersect1d(stamps, packets.stamps[packets.is_start & packets.stamped])
    return VideoTimes(stamps, keys, tick, True, every_key=len(keys) == packets.is_key.sum())


def _decoded(path: Place, faults: list[str]) -> tuple[np.ndarray | None, int, _Looks]:
    """Returns the stamps, None if one is missing, the number and the looks of the frames before the first fault."""
    stamps, count = array("q"), 0
    looks: _Looks = {}
    with opened(path) as (container, stream):
        try:
            for frame in decode(container, stream):
                count += 1
                if frame.pts is not None:
                    stamps.append(frame.pts)
                looks[_look(frame)] = None
        except av.FFmpegError as error:
            faults.append(f"cannot be decoded: {error.strerror or error}")
    return np.frombuffer(stamps, np.int64) if len(stamps) == count else None, count, looks
