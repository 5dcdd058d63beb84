"""Decodes chosen frames of an encoded video by seeking to the key frame before them and decoding from there.

PyAV can always do it, and torchcodec if it is installed and the config asks for it. index.py lists the frames of a
video.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

from datasets.videos.index import VideoTimes
from datasets.videos.video import orientation
from utils.errors import ConfigError, FrameError

Reader = Callable[[Path, VideoTimes, np.ndarray], list[np.ndarray]]


def read_pyav(path: Path, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
    """Decodes the frames at `indices` (0-based, in display order) with PyAV in one thread.

    Returns upright frames, uint8 (H, W, 3) RGB. A frame is identified by its time stamp, so the result is the frame at
    the given index or a FrameError.
    """
    wanted = {int(times.stamps[index]): int(index) for index in np.unique(indices).tolist()}
    found: dict[int, np.ndarray] = {}
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        convert = av.video.reformatter.VideoReformatter()
        for key, stamps in _runs(times, sorted(wanted)):
            for stamp, frame in _decode_run(path, container, stream, times, key, stamps).items():
                picture = convert.reformat(frame, format="rgb24", **_ONE_THREAD).to_ndarray()
                found[wanted[stamp]] = _upright(frame, picture)
    return [found[index] for index in np.asarray(indices).tolist()]


def read_torchcodec(path: Path, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
    """Decodes frames like `read_pyav` with torchcodec, which seeks exactly and rotates videos upright itself."""
    from torchcodec.decoders import VideoDecoder

    try:
        decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
        if len(decoder) != len(times):
            raise FrameError(f"{path}: torchcodec finds {len(decoder)} frames, PyAV {len(times)}; use decoder: pyav")
        return list(decoder.get_frames_at(indices=np.asarray(indices).tolist()).data.numpy())
    except (RuntimeError, ValueError, IndexError) as error:
        raise FrameError(f"{path}: cannot be decoded: {' '.join(str(error).split())[:200]}") from error


READERS: dict[str, Reader] = {"pyav": read_pyav, "torchcodec": read_torchcodec}


def find_reader(name: str) -> Reader:
    """Returns the reader called `name`; "auto" is torchcodec if it is installed and works, else PyAV.

    Raises: ConfigError for an unknown name, and for torchcodec if it does not work.
    """
    if name not in (*READERS, "auto"):
        raise ConfigError(f"common.data.store.decoder: {name!r} is not one of auto, {', '.join(READERS)}")
    if name == "pyav":
        return read_pyav
    why = "it is not installed (pip install torchcodec)"
    if importlib.util.find_spec("torchcodec") is not None:
        try:
            importlib.import_module("torchcodec.decoders")
            return read_torchcodec
        except (ImportError, RuntimeError, OSError) as error:  # for example if it finds no FFmpeg libraries
            why = " ".join(str(error).split())[:120]
    if name == "torchcodec":
        raise ConfigError(f"common.data.store.decoder: torchcodec cannot be used: {why}; use pyav")
    return read_pyav


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        # FFmpeg takes what is before a colon for a protocol; an absolute path begins with a slash
        with av.open(str(path.absolute())) as container:
            yield container
    except av.FFmpegError as error:
        raise FrameError(f"{path}: cannot be decoded: {error.strerror or error}") from error


def _runs(times: VideoTimes, stamps: list[int]) -> list[tuple[int, list[int]]]:
    """Returns (number of the key frame to start from, stamps to collect from there on), in order.

    A new run begins if there is a key frame between two wanted frames, so that seeking skips the frames before it.
    """
    keys = np.maximum(np.searchsorted(times.keys, stamps, side="right") - 1, 0).tolist()
    runs: list[tuple[int, list[int]]] = []
    for key, stamp in zip(keys, stamps, strict=True):
        if runs and runs[-1][0] == key:
            runs[-1][1].append(stamp)
        else:
            runs.append((key, [stamp]))
    return runs


def _decode_run(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    times: VideoTimes,
    key: int,
    stamps: list[int],
) -> dict[int, av.VideoFrame]:
    """Decodes from the key frame on; if seeking ends after it, from earlier key frames, and finally from the start."""
    back = 1
    while True:
        from_start = key == 0 or not times.seekable
        container.seek(0 if from_start else int(times.keys[key]), stream=None if from_start else stream)
        found = _collect(path, container, stream, times, set(stamps))
        if len(found) == len(stamps):
            return found
        if from_start:
            missing = next(stamp for stamp in stamps if stamp not in found)
            raise FrameError(f"{path}: frame index {times.index_of(missing)} of {len(times)} cannot be decoded")
        key, back = max(key - back, 0), 2 * back


def _collect(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, times: VideoTimes, wanted: set[int]
) -> dict[int, av.VideoFrame]:
    """Decodes until all `wanted` stamps are found, or a later one is."""
    found: dict[int, av.VideoFrame] = {}
    last = max(wanted)
    for count, frame in enumerate(container.decode(stream)):
        # frames are counted if the container gives no times
        stamp = frame.pts if times.seekable else int(times.stamps[min(count, len(times) - 1)])
        if stamp in wanted and stamp not in found:
            if frame.is_corrupt:
                raise FrameError(f"{path}: frame index {times.index_of(stamp)} is damaged")
            found[stamp] = frame
        if len(found) == len(wanted) or (stamp is not None and stamp > last):
            break
    return found


def _one_thread() -> dict[str, int]:
    """Returns the argument that stops PyAV from starting a thread per core for every frame, if its version has one."""
    try:
        av.VideoFrame(16, 16, "yuv420p").reformat(format="rgb24", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


_ONE_THREAD = _one_thread()


def _upright(frame: av.VideoFrame, picture: np.ndarray) -> np.ndarray:
    turns, mirrored = orientation(frame)
    if mirrored:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(np.rot90(picture, -turns))
