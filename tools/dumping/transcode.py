"""Encodes one video again for training, in a worker process: small pictures, key frames close to each other, no sound.

Every frame keeps its number and its time; only a lower rate of frames leaves some out. What comes out is read again
before it counts.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from datasets.videos.reader import MOST_REORDERED
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.video import TimedFrame, Video, at_rate, between
from tools.dumping.video import resized, stop_if_orphan
from utils.errors import FrameError, UserError
from utils.system import usual_priority

SUFFIX = ".mp4"
_FINEST = 10_000  # ticks per second at least, so that the first frame can begin at any time
_MOST_TICKS = 10_000_000  # per second
_SAME_RATE = 1.001  # 30 frames per second are 29.97
_SAME_CLOCK = 1e-4  # seconds
# grey level by which FFmpeg rounds down on the way from a file to RGB: without it each copy is darker than the last
_LOST = np.uint8(1)
_BT601, _LIMITED, _FULL = 6, 1, 2  # FFmpeg's numbers of a matrix and of ranges


class Codec(NamedTuple):
    """Says how FFmpeg is asked for a codec.

    encoder: its name. pixels: format of the pictures. crf, most: the default and the largest value of what may be lost.
    options: for the encoder; {crf} and {keys} are filled in.
    """

    encoder: str
    pixels: str
    crf: int
    most: int
    options: dict[str, str]


# without what makes decoders slow: a tenth more bytes for H.264, and half the time
_FAST = "fastdecode"
CODECS = {
    "h264": Codec(*("libx264", "yuv420p", 20, 51), {"crf": "{crf}", "g": "{keys}", "preset": "medium", "tune": _FAST}),
    "hevc": Codec(
        *("libx265", "yuv420p", 22, 51),
        {"crf": "{crf}", "preset": "fast", "tune": _FAST, "x265-params": "log-level=none:keyint={keys}"},
    ),
    "av1": Codec(
        *("libsvtav1", "yuv420p", 28, 63),
        {"crf": "{crf}", "g": "{keys}", "preset": "8", "svtav1-params": "lp=1:fast-decode=1"},
    ),
    "mpeg4": Codec(*("mpeg4", "yuv420p", 3, 31), {"qmin": "{crf}", "qmax": "{crf}", "g": "{keys}"}),
    "mjpeg": Codec(*("mjpeg", "yuvj420p", 3, 31), {"qmin": "{crf}", "qmax": "{crf}"}),
}


@dataclass(frozen=True)
class Encoding:
    """Decides what videos become.

    codec: a name in CODECS.
    crf: what the encoder may lose; a smaller number loses less.
    size: (0, 0) keeps the size, (0, s) makes the short side s where it is longer, (w, h) is the exact width and height.
    key_frames: frames from a key frame to the next, at most.
    fps: rate that videos with more frames are brought to; 0 keeps all frames.
    """

    codec: str
    crf: int
    size: tuple[int, int] = (0, 256)
    key_frames: int = 12
    fps: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Returns the settings as the manifest has them."""
        return {**asdict(self), "size": list(self.size)}

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Returns (width, height) of what a picture of this size becomes: even numbers, as 4:2:0 needs them."""
        wanted_width, short = self.size
        if wanted_width:
            return wanted_width, short
        scale = min(short / min(height, width), 1.0) if short else 1.0
        return _even(width * scale), _even(height * scale)

    def lowers(self, fps: float) -> bool:
        """Returns whether a video of this rate loses frames."""
        return bool(self.fps) and fps > self.fps * _SAME_RATE

    def __str__(self) -> str:
        width, short = self.size
        size = f"{width}x{short}" if width else f"short side {short}" if short else "sizes as they are"
        keys = "" if self.codec == "mjpeg" else f", a key frame every {self.key_frames} frames"
        return f"{self.codec}, crf {self.crf}, {size}{keys}" + (f", {self.fps:g} frames a second" if self.fps else "")


class Transcoded(NamedTuple):
    """Holds what became of a video.

    times: of the file's frames. begins: seconds to the first one, as in the source. bits: of a colour of the source.
    """

    times: VideoTimes
    begins: float
    notes: list[str]
    bits: int


def check_encoder(encoding: Encoding) -> None:
    """Raises UserError if this FFmpeg has no such encoder, or it cannot make such pictures."""
    encoder = CODECS[encoding.codec].encoder
    if encoder not in av.codecs_available:
        others = ", ".join(name for name, codec in CODECS.items() if codec.encoder in av.codecs_available)
        raise UserError(f"--codec {encoding.codec}: the FFmpeg of PyAV has no encoder {encoder}; it has {others}")
    if any(side % 2 for side in encoding.size):
        raise UserError("--size: the sides of a video must be even numbers; give the next one")


def transcode(
    source: str | os.PathLike[str],
    out: Path,
    encoding: Encoding,
    *,
    until: float | None = None,
    seen: Callable[[int, np.ndarray], None] | None = None,
) -> Transcoded:
    """Encodes a video into the file `out`.

    until: seconds of the file after which it ends. seen: is called with the number and the RGB pixels of each frame
    that is encoded.
    Raises: FrameError if the video is damaged, or what comes out has other frames than what went in.
    """
    video = Video(source)
    clock = _Clock(video, encoding)
    with av.open(str(out), "w", options=clock.container) as output:
        stream = _add_stream(output, encoding, clock.rate)
        count = 0
        for moment, picture in clock.frames(until):
            stop_if_orphan()
            if not count:
                stream.width, stream.height = encoding.target(*picture.shape[:2])
                with usual_priority():
                    if clock.start:
                        _add_silence(output)
                    stream.codec_context.open(strict=False)  # the silence may have opened it
            small = resized(picture, encoding)
            if seen is not None:
                seen(count, small)
            frame = av.VideoFrame.from_ndarray(np.minimum(small, 255 - _LOST) + _LOST, format="rgb24")
            frame.pts, frame.time_base = count, 1 / clock.rate
            clock.add(moment)
            count += 1
            _mux(output, stream.encode(frame), clock)
        if count:
            _mux(output, stream.encode(None), clock)
    if video.errors or not count:
        raise FrameError(f"{source}: {video.errors[0] if video.errors else 'contains no frames'}")
    times = scan(out)
    expected = clock.seconds
    if len(times) != count or not np.allclose(times.clock, expected, rtol=0, atol=_SAME_CLOCK):
        raise FrameError(f"{source}: its {count} frames came out as {len(times)}, or at other times; is it damaged?")
    return Transcoded(times, float(expected[0]), video.info.notes, video.info.bits)


class _Clock:
    """Knows which frames of a video are encoded, and their times in ticks of the file that is written.

    Encoders see frames at a constant rate, which each of them can, and the packets get the times of the frames.
    rate: of frames, for encoders. start: ticks to the first frame. container: options that set the tick.
    """

    def __init__(self, video: Video, encoding: Encoding) -> None:
        self._video, info = video, video.info
        self.lowered = encoding.fps if encoding.lowers(info.fps) else 0.0
        self.rate = Fraction(self.lowered or info.fps or 25.0).limit_denominator(100)  # MPEG-4 takes no finer ones
        tick = Fraction(1 / self.lowered if self.lowered else info.times.tick).limit_denominator(_MOST_TICKS)
        self.ticks = tick.denominator * math.ceil(_FINEST / tick.denominator)  # per second
        self.start = round(info.times.begins * self.ticks)
        self.step = max(round(self.ticks / self.rate), 1)
        self._stamps = array("q")
        self.container = {"movflags": "+faststart", "video_track_timescale": str(self.ticks)}

    def frames(self, until: float | None) -> Iterator[TimedFrame]:
        """Yields (seconds after the first frame, RGB picture)."""
        begins, duration = self._video.info.times.begins, self._video.info.duration
        frames: Iterator[TimedFrame] = ((moment - begins, picture) for moment, picture in self._video.frames())
        if until is not None:
            frames, duration = between(frames, 0.0, until), min(duration, until)
        return at_rate(frames, self.lowered, duration) if self.lowered else frames

    def add(self, moment: float) -> None:
        """Takes the time of the next frame. Raises: FrameError where it is not later than that of the one before."""
        stamp = self.start + round(moment * self.ticks)
        if self._stamps and stamp <= self._stamps[-1]:
            raise FrameError(f"{self._video.path}: two of its frames are shown at {moment:.4f} s; is it damaged?")
        self._stamps.append(stamp)

    def stamp(self, number: int) -> int:
        """Returns the time of a frame, or of a moment before the first one, in ticks."""
        return self._stamps[number] if number >= 0 else self._stamps[0] + number * self.step

    @property
    def seconds(self) -> np.ndarray:
        """The times of all frames from the start of the file, float64."""
        return np.array(self._stamps, np.float64) / self.ticks


def _even(side: float) -> int:
    return max(2 * round(side / 2), 2)


def _add_stream(output: av.container.OutputContainer, encoding: Encoding, rate: Fraction) -> av.VideoStream:
    codec = CODECS[encoding.codec]
    os.environ.setdefault("SVT_LOG", "1")  # its library prints twenty lines for each video
    options = {key: text.format(crf=encoding.crf, keys=encoding.key_frames) for key, text in codec.options.items()}
    stream: Any = output.add_stream(codec.encoder, rate=rate, options=options)
    stream.pix_fmt = codec.pixels
    context = stream.codec_context
    context.thread_count = 1  # there is one process per core already
    # what PyAV makes of RGB, and what readers take for it where a file does not say
    context.colorspace, context.color_range = _BT601, _FULL if codec.pixels == "yuvj420p" else _LIMITED
    return stream


def _add_silence(output: av.container.OutputContainer) -> None:
    """Adds a moment of silence: a file's clock starts with its first stream, and the sound that did it is left out."""
    sound = output.add_stream("alac", rate=8000, layout="mono")  # it has no samples before the first one
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 64), np.int16), format="s16p", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
    output.mux([*sound.encode(frame), *sound.encode(None)])


def _mux(output: av.container.OutputContainer, packets: list[av.Packet], clock: _Clock) -> None:
    for packet in packets:
        scale = packet.time_base * clock.rate
        number, decoded = (round((stamp or 0) * scale) for stamp in (packet.pts, packet.dts))
        if not number - MOST_REORDERED <= decoded <= number:  # libx265 gives any number to a video of two frames
            decoded = number
        packet.time_base = Fraction(1, clock.ticks)
        packet.pts, packet.dts, packet.duration = clock.stamp(number), clock.stamp(decoded), clock.step
        output.mux(packet)
