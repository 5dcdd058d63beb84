"""Decodes chosen frames of an encoded video: the frame that is asked for, or an error.

Where it is known at which key frames decoding can begin, it begins there; the time stamp of every frame that comes is
compared with the one asked for. Other videos are decoded from their start, and frames are counted. scan.py says which.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from datasets.places.files import Stream, is_plain, open_file
from datasets.places.place import Place
from datasets.videos.container import (
    HDR,
    Converter,
    Opened,
    decode,
    hdr_refused,
    listening,
    opened,
    orientation,
)
from datasets.videos.scan import VideoTimes, size_changes
from utils.errors import ConfigError, FrameError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Reader = Callable[[Place, VideoTimes, np.ndarray], list[np.ndarray]]
MOST_REORDERED = 16  # frames that H.264 and HEVC decode before one that is shown earlier
Found = dict[int, av.VideoFrame]  # by position in the video


class _Kept(threading.local):
    """Keeps the file that a thread has read last open: samples of a long video often follow each other.

    Opening takes 0.4 ms for a short video, and 8 ms for one of an hour, as long as eight frames.
    """

    def __init__(self) -> None:
        self._file: tuple[int | str, ...] = ()
        self._open = contextlib.ExitStack()
        self._found: Opened | None = None

    @contextlib.contextmanager
    def opened(self, path: Place) -> Iterator[Opened]:
        """Opens a scanned file like `container.opened`, which raises the same errors. After an error it is closed.

        One at an address or in a tar is not kept open: its cache keeps what was read.
        """
        if not (isinstance(path, Path) and is_plain(path)):
            with opened(path, known=True) as found:
                yield found
            return
        try:
            status = path.stat()
            # a fork has the same place in the file as its parent, and moves it
            file: tuple[int | str, ...] = (
                os.getpid(),
                str(path),
                status.st_dev,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
            )
        except OSError:
            file = ()
        if self._found is None or not file or file != self._file:
            self.close()
            self._found = self._open.enter_context(opened(path, known=True))
            self._file = file
        try:
            yield self._found
        except BaseException as error:
            kept, self._found, self._file = self._open, None, ()
            self._open = contextlib.ExitStack()
            if not kept.__exit__(type(error), error, error.__traceback__):
                raise

    def close(self) -> None:
        """Closes the file that is still open, if one is."""
        self._found, self._file = None, ()
        self._open.close()


KEPT = _Kept()


def read_pyav(path: Place, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
    """Decodes the frames at `indices` (0-based, in display order) with PyAV in one thread.

    Returns upright frames, uint8 (H, W, 3) RGB. Raises: FrameError, naming the file and the frame.
    """
    wanted = np.unique(indices).tolist()
    found: Found = {}
    if times.seekable:
        with KEPT.opened(path) as (container, stream):
            for key, positions in _runs(times, wanted):
                found |= _decode_run(container, stream, times, key, positions)
            if (curve := stream.codec_context.color_trc) in HDR:  # known to an index that an older version has made
                raise FrameError(f"{path}: {hdr_refused(HDR[curve])}")
    if missing := [position for position in wanted if position not in found]:
        with opened(path) as (container, stream):
            found |= _from_start(path, decode(container, stream), times, missing)
    for position in wanted:
        if position not in found or found[position].is_corrupt:
            what = "is damaged" if position in found else "cannot be decoded"
            raise FrameError(f"{path}: frame index {position} of {len(times)} {what}")
    converter = Converter()
    pictures = {position: converter.upright(found.pop(position)) for position in wanted}  # never all frames twice
    if len(sizes := {times.size, *(picture.shape[:2] for picture in pictures.values())}) > 1:
        raise FrameError(f"{path}: {size_changes(sizes)}")
    return [pictures[index] for index in np.asarray(indices).tolist()]


def read_torchcodec(path: Place, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
    """Decodes frames like `read_pyav` with torchcodec, which begins at any key frame and rotates videos upright itself.

    Raises: FrameError, also for a video whose frames are found only by counting from its start, or that is mirrored.
    """
    return list(decode_torchcodec(path, times, indices).numpy())


def decode_torchcodec(
    path: Place, times: VideoTimes, indices: np.ndarray, device: torch.device | str = "cpu"
) -> Tensor:
    """Decodes frames like `read_torchcodec` on a device; returns uint8 (n, H, W, 3) there."""
    from torchcodec.decoders import VideoDecoder

    if not (times.seekable and times.every_key):
        raise FrameError(
            f"{path}: its frames are found only by decoding from the start, which torchcodec does not; use decoder: "
            "auto or pyav"
        )
    source = str(path) if is_plain(path) else open_file(path)
    given: dict[str, Any] = {"stream_index": times.stream, "dimension_order": "NHWC", "device": str(device)}
    try:
        decoder = VideoDecoder(source, seek_mode="exact", num_ffmpeg_threads=1, **given)
        curve = str(getattr(decoder.metadata, "color_transfer_characteristic", ""))
        if curve in HDR.values():  # known to an index that an older version has made
            raise FrameError(f"{path}: {hdr_refused(curve)}")
        if (turned := getattr(decoder.metadata, "rotation", 0)) and str(device) != "cpu":
            raise FrameError(f"{path}: is turned when shown, which is done on a CPU only")
        if turned is not None and _is_mirrored(path, times):
            raise FrameError(f"{path}: is mirrored when shown, which torchcodec does not do; use decoder: auto or pyav")
        found = decoder.get_frames_at(indices=np.asarray(indices).tolist())
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(source, Stream) and source.error is not None:
            raise source.error from None
        raise FrameError(f"{path}: cannot be decoded: {' '.join(str(error).split())[:200]}") from error
    stamps = np.rint(found.pts_seconds.cpu().numpy() / times.tick)
    if wrong := np.flatnonzero(stamps != times.stamps[indices]).tolist():
        position = int(np.asarray(indices)[wrong[0]])
        raise FrameError(f"{path}: torchcodec gives another frame than number {position}; use decoder: auto or pyav")
    height, width = found.data.shape[1:3]
    if (height, width) != times.size:
        raise FrameError(f"{path}: {size_changes({times.size, (height, width)})}")
    return found.data


def _is_mirrored(path: Place, times: VideoTimes) -> bool:
    """Returns whether a player mirrors the video, which only a frame says."""
    with KEPT.opened(path) as (container, stream):
        container.seek(int(times.keys[0]), stream=stream)
        found = orientation(next(decode(container, stream), None))[1]
        stream.codec_context.flush_buffers()
    return found


def read_any(path: Place, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
    """Decodes frames with torchcodec, and with PyAV what it cannot."""
    try:
        return read_torchcodec(path, times, indices)
    except FrameError:
        return read_pyav(path, times, indices)


READERS: dict[str, Reader] = {"pyav": read_pyav, "torchcodec": read_torchcodec, "auto": read_any}


def find_reader(name: str) -> Reader:
    """Returns the reader called `name`; "auto" is PyAV alone where torchcodec is not installed or does not work.

    Raises: ConfigError for an unknown name, and for torchcodec if it does not work.
    """
    if name not in READERS:
        raise ConfigError(f"common.data.store.decoder: {name!r} is not one of {', '.join(sorted(READERS))}")
    if name == "pyav":
        return read_pyav
    if not (why := lacks_torchcodec()):
        return READERS[name]
    if name == "torchcodec":
        raise ConfigError(f"common.data.store.decoder: torchcodec cannot be used: {why}; use pyav")
    return read_pyav


def lacks_torchcodec() -> str:
    """Returns why torchcodec cannot be used; "" where it can."""
    if importlib.util.find_spec("torchcodec") is None:
        return "it is not installed (pip install torchcodec)"
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as error:  # for example if it finds no FFmpeg libraries
        return " ".join(str(error).split())[:120]
    return ""


def _runs(times: VideoTimes, wanted: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Returns (number of the key frame to start from, positions to collect from there on), in order.

    A new run begins if there is a key frame between two wanted frames, so that seeking skips the frames before it.
    """
    keys = (np.searchsorted(times.keys, times.stamps[list(wanted)], side="right") - 1).tolist()
    runs: list[tuple[int, list[int]]] = []
    for key, position in zip(keys, wanted, strict=True):
        if runs and runs[-1][0] == key:
            runs[-1][1].append(position)
        else:
            runs.append((key, [position]))
    return runs


def _decode_run(
    container: av.container.InputContainer, stream: av.VideoStream, times: VideoTimes, key: int, positions: list[int]
) -> Found:
    """Decodes from the key frame on, or from earlier ones if that fails; returns nothing if all of that fails."""
    back = 1
    while key >= 0:
        container.seek(int(times.keys[key]), stream=stream)
        found = _from_key(container, stream, times, key, positions)
        if len(found) == len(positions):
            return found
        key, back = key - back, 2 * back
    return {}


def _from_key(
    container: av.container.InputContainer, stream: av.VideoStream, times: VideoTimes, key: int, positions: list[int]
) -> Found:
    """Decodes until all positions are found; gives up when anything comes that was not expected.

    Of the frames that nobody asked for, only those that others are made from are decoded, and nothing after the last
    packet that is needed.
    """
    found: Found = {}
    last, begin, context = -1, int(times.keys[key]), stream.codec_context
    left, wanted, first = set(times.stamps[positions].tolist()), set(positions), times.position_of(begin) or 0
    near = {stamp: first + place for place, stamp in enumerate(times.stamps[first : positions[-1] + 1].tolist())}
    with listening() as heard, _skipping(context):
        for count, packet in enumerate(container.demux(stream)):
            if not count and packet.pts != begin:  # seeking has ended elsewhere
                return {}
            context.skip_frame = "DEFAULT" if packet.pts in left else "NONREF"
            left.discard(packet.pts)
            try:
                frames = packet.decode()
                if not left:
                    frames += context.decode(None)
            except av.FFmpegError:
                return {}
            needs_earlier = packet.pts is not None and packet.pts < begin  # frames before the key frame
            if heard() and not needs_earlier:
                return {}
            for frame in frames:
                if frame.pts is not None and frame.pts < begin:
                    continue
                position = near[frame.pts] if frame.pts in near else times.position_of(frame.pts)
                if position is None or position <= last:
                    return {}
                last = position
                if position in wanted:
                    found[position] = frame
            if not left:
                break
    return found


@contextlib.contextmanager
def _skipping(context: av.VideoCodecContext) -> Iterator[None]:
    """Allows skipping frames and draining the decoder inside the `with` block, and resets it at the end."""
    if not context.is_open:
        context.open()  # dav1d goes on skipping what was to be skipped when it was opened
    try:
        yield
    finally:
        context.skip_frame = "DEFAULT"
        context.flush_buffers()


def _from_start(path: Place, frames: Iterable[av.VideoFrame], times: VideoTimes, positions: list[int]) -> Found:
    """Decodes until all positions are found, by stamps or, where these do not tell frames, by counting.

    Raises: FrameError also where the decoder has painted over damage between a frame's key frame and the frame.
    """
    found: Found = {}
    last = -1
    damage: dict[int, tuple[int, str]] = {}  # by number of the key frame: what was heard first, and before which frame
    with listening() as heard:
        for count, frame in enumerate(frames):
            position = times.position_of(frame.pts) if times.seekable else count
            if position is None or position <= last:
                raise FrameError(
                    f"{path}: its frames come at other times than its packets say; convert it to another file"
                )
            last = position
            if times.seekable and (texts := heard()):  # of this frame, or of one that is decoded before it is shown
                ahead = min(position + MOST_REORDERED, len(times) - 1)
                for key in range(_key_before(times, position), _key_before(times, ahead) + 1):
                    damage.setdefault(key, (position, texts[0]))
            if position in positions:
                found[position] = frame
            if position >= positions[-1]:
                break
    for position in found:
        first, text = damage.get(_key_before(times, position), (len(times), ""))
        if position >= first:  # frames that came before are whole
            raise FrameError(f"{path}: frame index {position} of {len(times)} is damaged: {text}")
    return found


def _key_before(times: VideoTimes, position: int) -> int:
    return int(np.searchsorted(times.keys, times.stamps[position], side="right")) - 1
