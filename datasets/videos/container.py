"""Opens videos for every reader and tool: decides which formats are read, and which stream of a file is its video.

A file is only a file: a playlist, which would open other files and addresses, is refused whatever its name. Only an
address that a user gives is opened as one; what it answers may name other addresses, but never a file.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import av.logging
import numpy as np
from av.stream import Disposition

from datasets.places.files import Stream, is_plain, open_file
from datasets.places.place import Place
from utils.errors import FrameError

# FFmpeg's demuxers of files that hold a video themselves; others are playlists, pictures, devices and subtitles
FORMATS = (
    "mov,matroska,avi,flv,asf,gif,mpegts,mpeg,mpegvideo,m4v,ogg,yuv4mpegpipe,"
    "dv,mxf,nut,ivf,h264,hevc,obu,av1,vc1,rm,wtv,mjpeg,swf,nsv,ty"
)
MOST_PIXELS = 8192 * 8192  # in a frame; a small file may claim any size
# titles and comments in any encoding; from PyAV 19 on there is no such argument, and no such error
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# the H.264 decoder says this about its list of reference pictures, which it repairs without damage to the picture
_HARMLESS = ("mmco: unref short failure",)
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_pixels": str(MOST_PIXELS)}
# looking into a file, FFmpeg decodes a picture or more, which takes most of the time of opening it
_KNOWN_OPTIONS = _OPTIONS | {
    "probesize": "32",
    "analyzeduration": "1",
    "fpsprobesize": "0",
    "skip_frame": "all",
    "skip_idct": "all",
    "skip_loop_filter": "all",
}
_STREAM_OPTIONS = {
    "format_whitelist": f"{FORMATS},rtsp,rtp,sdp,hls,live_flv,mpjpeg",
    "protocol_whitelist": "http,https,httpproxy,tcp,tls,udp,rtp,rtmp,rtmps,rtmpt,srt,crypto,data",
    "rtsp_transport": "tcp",  # packets of UDP are lost where a network is busy, and pictures with them
    "max_pixels": str(MOST_PIXELS),
}
# FFmpeg's numbers and names of the curves of HDR, PQ and HLG; their numbers, taken as they are, make a pale picture
HDR = {16: "smpte2084", 18: "arib-std-b67"}
_BITS = 8  # of a colour, in all but deep formats
Opened = tuple[av.container.InputContainer, av.VideoStream]


@contextlib.contextmanager
def opened(path: Place, *, known: bool = False) -> Iterator[Opened]:
    """Opens a file and its first video stream that is not a cover picture, to be decoded in one thread.

    known: whether the video was scanned before. Its first pictures are not looked at then, and what the stream says
        about colours and formats is right only after decoding.

    Raises: FrameError, naming the file, if it is missing, empty, not a video, HDR or has no video stream, or if FFmpeg
    raises an error inside the `with` block.
    """
    if isinstance(path, Path) and is_plain(path):
        if not path.is_file():
            raise FrameError(f"{path}: no such file")
        if path.stat().st_size == 0:
            raise FrameError(f"{path}: the file is empty (0 bytes)")
        # FFmpeg takes what is before a colon for a protocol; an absolute path begins with a slash
        with _opened(path, str(path.absolute()), known=known) as found:
            yield found
        return
    stream = open_file(path)
    try:
        with _opened(path, stream, known=known) as found:
            yield found
    finally:
        if stream.error is not None:  # which FFmpeg takes for the end of the file
            raise stream.error from None


@contextlib.contextmanager
def _opened(path: Place, source: str | Stream, *, known: bool) -> Iterator[Opened]:
    try:
        container = av.open(source, mode="r", options=_KNOWN_OPTIONS if known else _OPTIONS, **_ANY_METADATA)
    except av.ArgumentError:
        raise FrameError(f"{path}: cannot be read as a video (its content is of no video format)") from None
    except av.FFmpegError as error:
        raise FrameError(f"{path}: cannot be read as a video ({error.strerror or error})") from error
    with _first_video(container, path) as found:
        yield found


def hdr_refused(curve: str) -> str:
    """Says why an HDR video, which has this transfer curve, is not read."""
    return f"is HDR video ({curve}), whose colours would come out pale; convert it with the command in docs/data.md"


@contextlib.contextmanager
def opened_address(address: str, name: str, *, seconds: float) -> Iterator[Opened]:
    """Opens the video at an address as `opened` opens a file.

    name: what messages call it. seconds: how long to wait for an answer, and later for each piece of the video.
    Raises: FrameError if nothing answers in time, or what answers is not a video; also inside the `with` block.
    """
    try:
        container = av.open(address, options=_STREAM_OPTIONS, timeout=seconds, **_ANY_METADATA)
    except av.ExitError:
        raise FrameError(f"{name}: no answer within {seconds:g} seconds") from None
    except av.FFmpegError as error:
        raise FrameError(f"{name}: cannot be opened ({error.strerror or error})") from error
    with _first_video(container, name) as found:
        try:
            yield found
        except av.ExitError:
            raise FrameError(f"{name}: nothing has come for {seconds:g} seconds") from None


@contextlib.contextmanager
def _first_video(container: av.container.InputContainer, path: Place | str) -> Iterator[Opened]:
    with container:
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            raise FrameError(f"{path}: has no video stream")
        context = streams[0].codec_context
        if context is None:
            raise FrameError(f"{path}: its video is of a codec that cannot be read")
        if context.width * context.height > MOST_PIXELS:
            raise FrameError(f"{path}: its frames of {context.width} x {context.height} pixels are too large")
        if context.color_trc in HDR:
            raise FrameError(f"{path}: {hdr_refused(HDR[context.color_trc])}")
        context.thread_count = 1
        context.options = {"max_pixels": str(MOST_PIXELS)}
        try:
            yield container, streams[0]
        except av.FFmpegError as error:
            raise FrameError(f"{path}: cannot be decoded: {error.strerror or error}") from error


def bits_of(stream: av.VideoStream) -> int:
    """Returns how many bits a colour of an opened video has, by which `Converter` chooses how it is converted."""
    pixels = stream.codec_context.format
    return pixels.components[0].bits if pixels is not None and pixels.components else _BITS


def decode(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yields the frames in display order.

    Packets before the first picture may be undecodable, as where a recording begins in the middle of a group; after it
    an error is raised.
    """
    begun = False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if begun:
                raise
            continue
        for frame in frames:
            begun = True
            yield frame


class _Speaking:
    """Lets FFmpeg log every error while a thread is in the block: the level is of the process, not of a thread."""

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)  # the threads inside are not in the child

    def _begin(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: tuple[int | None, bool] = None, False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = av.logging.get_level(), av.logging.get_skip_repeated()
                av.logging.set_level(av.logging.ERROR)
                av.logging.set_skip_repeated(False)  # a skipped repeat may be a message about another video
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                level, skipping = self._before
                av.logging.set_level(level)
                av.logging.set_skip_repeated(skipping)


_SPEAKING = _Speaking()


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], list[str]]]:
    """Hears which errors FFmpeg logs in this thread inside the `with` block.

    Its decoders paint over damage, and only log that. Yields a function that returns the errors since its last call.
    """
    with _SPEAKING, av.logging.Capture() as logs:

        def heard() -> list[str]:
            if not logs:
                return []
            texts = [" ".join(f"{source}: {message}".split()) for _, source, message in logs]
            logs.clear()
            return [text for text in texts if not text.endswith(_HARMLESS)]

        yield heard


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


class Converter:
    """Turns decoded frames into upright pictures, uint8 (H, W, 3), channels in `order` ("rgb" or "bgr")."""

    def __init__(self, order: str = "rgb") -> None:
        self._format = f"{order}24"
        self._convert = av.video.reformatter.VideoReformatter()
        self._deep: tuple[tuple[int, int, str], av.filter.Graph] | None = None

    def upright(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns the picture of a frame as a player shows it."""
        if frame.format.components[0].bits > _BITS:
            plain = self._of_deep(frame)
        else:
            plain = self._convert.reformat(frame, format=self._format, **_ONE_THREAD)
        picture, (turns, mirrored) = plain.to_ndarray(), orientation(frame)
        return np.ascontiguousarray(np.rot90(picture[:, ::-1] if mirrored else picture, -turns))

    def _of_deep(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Converts a frame of more bits as FFmpeg's filter does, which knows where between the pixels colours lie."""
        look = frame.width, frame.height, frame.format.name
        if self._deep is None or self._deep[0] != look:
            graph = av.filter.Graph()
            if hasattr(graph, "threads"):  # not in old versions of PyAV
                graph.threads = 1  # by default, each graph starts one per core
            base = frame.time_base or Fraction(1, 25)  # of no meaning here
            source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
            scale, made = graph.add("scale", threads="1"), graph.add("format", self._format)
            graph.link_nodes(source, scale, made, graph.add("buffersink"))
            graph.configure()
            self._deep = look, graph
        graph = self._deep[1]
        graph.vpush(frame)
        return graph.vpull()


def _one_thread() -> dict[str, int]:
    """Returns the argument that stops PyAV from starting a thread per core for every frame, if its version has one."""
    try:
        av.VideoFrame(16, 16, "yuv420p").reformat(format="rgb24", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


_ONE_THREAD = _one_thread()
