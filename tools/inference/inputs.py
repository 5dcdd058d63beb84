"""Opens what a trained network can look at: a video, a folder of frames, a camera, an address, frames in memory.

Each of them is a stream of timed pictures.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import queue
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Union

import cv2
import numpy as np
from typing_extensions import override

from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.stores.frame_names import FLOW_PREFIXES, list_numbers
from datasets.videos.container import Converter, decode, opened_address
from datasets.videos.scan import VideoTimes
from datasets.videos.video import TimedFrame, Video
from tools.inference.arguments import DEFAULT_FPS
from utils.errors import FrameError, UserError
from utils.files import find_files
from utils.transforms.crops import CropRule, short_side_size
from utils.transforms.flow import dis, to_levels
from utils.transforms.image import decode_image, quick_resize

ADDRESSES = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "http://", "https://", "srt://", "udp://", "rtp://")
ANSWER_SECONDS = 10.0
WAITING_PICTURES = 64  # decoded pictures of a stream that wait for the network


class Input(ABC):
    """Pictures in the order of showing. Derive from it to read from elsewhere.

    name: what messages call it.
    fps: pictures per second, on average.
    num_frames: number of pictures, as far as it is known before decoding; None for cameras and addresses.
    warnings: what was wrong with it; complete after `frames` has ended.
    times: of its frames, where a file tells them; None where they are `fps` per second.
    """

    name: str
    fps: float
    num_frames: int | None
    warnings: list[str]
    times: VideoTimes | None = None

    @property
    def errors(self) -> list[str]:
        """Returns the warnings that say that pictures are damaged or missing; complete after `frames` has ended."""
        return []

    @property
    def longest(self) -> int | None:
        """Returns the number of pictures beyond which no window may reach; None where nobody knows it."""
        return self.num_frames

    @abstractmethod
    def frames(self) -> Iterator[TimedFrame]:
        """Yields (seconds, uint8 (H, W, C)), RGB, decoding each picture when it is asked for."""

    def count_between(self, start: float, end: float) -> int:
        """Returns the number of pictures from `start` until before `end` seconds, if it has an end."""
        assert self.num_frames is not None
        return math.ceil(min(end * self.fps, self.num_frames)) - round(start * self.fps)

    def nothing_decoded(self) -> FrameError:
        """Returns the error for an input that has not given a single picture."""
        return FrameError(
            f"{self.name}: nothing in it can be decoded: {'; '.join(self.warnings) or 'it has no frames'}"
        )


# a path, the number or device file of a camera, an address, frames in memory, or an Input
Source = Union[str, "os.PathLike[str]", int, Iterable[np.ndarray], Input]


class VideoInput(Input):
    """A video file."""

    def __init__(self, path: Path) -> None:
        self._video = Video(path)
        info = self._video.info
        self.name, self.fps = str(path), info.fps or DEFAULT_FPS
        self.num_frames, self.times = max(1, len(info.times)), info.times
        self.warnings = self._video.errors
        self.warnings += info.notes

    @property
    @override
    def errors(self) -> list[str]:
        return [warning for warning in self.warnings if warning not in self._video.info.notes]

    @override
    def count_between(self, start: float, end: float) -> int:
        first, last = self._video.info.times.frames_between(start, end)
        return last - first

    def frames(self) -> Iterator[TimedFrame]:
        """Decodes from the first to the last frame."""
        return self._video.frames()


class FolderInput(Input):
    """A folder of numbered images, `fps` per second."""

    def __init__(self, folder: Path, fps: float) -> None:
        numbered = list_numbers(folder)
        series = {name: found for name, found in numbered.items() if not name.startswith(FLOW_PREFIXES)}
        if not series:
            raise FrameError(f"{folder}: holds neither videos nor numbered frames, such as img_00001.jpg")
        template, numbers = max(series.items(), key=lambda item: (len(item[1]), item[0]))
        self._files = [folder / template.format(number) for number in numbers]
        self.name, self.fps = str(folder), fps
        self.num_frames = len(numbers)
        self.warnings = []
        if len(series) > 1:
            self.warnings.append(f"{len(series)} series of images in the folder; took the longest, {template}")

    def frames(self) -> Iterator[TimedFrame]:
        """Decodes image by image. Raises: FrameError naming a file that is not a readable image."""
        for index, file in enumerate(self._files):
            try:
                yield index / self.fps, decode_image(file.read_bytes())
            except (OSError, ValueError) as error:
                raise FrameError(f"{file}: not a readable image: {error}") from None


class MemoryInput(Input):
    """Decoded frames, uint8 RGB (H, W, 3), `fps` per second: an array (T, H, W, 3), a list, or a generator.

    A generator has no known end and can be followed only once.
    """

    name = "frames in memory"

    def __init__(self, frames: Iterable[np.ndarray], fps: float) -> None:
        if not isinstance(frames, Iterable):
            raise FrameError(f"expected a path, a camera's number or frames, not a {type(frames).__name__}")
        self._frames, self.fps = frames, fps
        self.num_frames = max(1, len(frames)) if isinstance(frames, Sized) else None
        self.warnings = []

    def frames(self) -> Iterator[TimedFrame]:
        """Passes the frames on. Raises: FrameError naming one that is not uint8 (H, W, 3)."""
        for index, frame in enumerate(self._frames):
            picture = np.asarray(frame)
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
                raise FrameError(
                    f"frame {index} of those in memory: should be uint8 RGB (H, W, 3), but is {picture.dtype} "
                    f"{picture.shape}"
                )
            yield index / self.fps, picture


class CameraInput(Input):
    """A camera, by its number or device file, from now on."""

    num_frames = None

    def __init__(self, camera: str) -> None:
        self.name, self.warnings = f"camera {camera}", []
        with _quiet():
            self._capture = cv2.VideoCapture(int(camera) if camera.isdecimal() else camera)
        if not self._capture.isOpened():
            raise FrameError(f"{self.name}: there is no such camera, or another program uses it")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS

    def frames(self) -> Iterator[TimedFrame]:
        """Yields pictures until the camera is gone, with the seconds since the first one was asked for."""
        began = time.monotonic()
        try:
            while True:
                good, frame = self._capture.read()
                if not good:
                    return
                yield time.monotonic() - began, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()


class StreamInput(Input):
    """The video at an address, from now on, such as that of a network camera; it ends where the stream ends.

    Pictures are decoded in a thread. Of a live stream, those are skipped for which there is no time, and its end is
    never an error, because it looks like one in most protocols; `warnings` say what was heard.
    """

    num_frames = None

    def __init__(self, address: str) -> None:
        self.name, self.warnings = re.sub("//[^/@]*@", "//", address), []  # without a password
        self._closing = contextlib.ExitStack()
        self._container, self._video = self._closing.enter_context(
            opened_address(address, self.name, seconds=ANSWER_SECONDS)
        )
        self.fps = float(self._video.average_rate or 0) or DEFAULT_FPS
        self._is_live = not self._container.duration
        self._declared = self._video.frames  # 0 where the container does not say it
        self._pictures: queue.Queue[TimedFrame | FrameError | None] = queue.Queue(WAITING_PICTURES)
        self._skipped, self._ended = 0, threading.Event()

    @property
    @override
    def longest(self) -> int | None:
        return None if self._is_live else self._declared or None

    def frames(self) -> Iterator[TimedFrame]:
        """Yields pictures until the stream ends, with the seconds since the first. Raises: FrameError if it breaks."""
        thread = threading.Thread(target=self._decode, name="stream", daemon=True)
        thread.start()
        try:
            while (found := self._pictures.get()) is not None:
                if isinstance(found, FrameError):
                    raise found
                yield found
        finally:
            self._ended.set()
            thread.join(2 * ANSWER_SECONDS)
            if self._skipped:
                self.warnings.append(f"{self._skipped} pictures were skipped: the stream is faster than the network")

    def _decode(self) -> None:
        converter, first, count = Converter("rgb"), None, 0
        try:
            with self._closing:
                for frame in decode(self._container, self._video):
                    moment = frame.time if frame.time is not None else time.monotonic()
                    first, count = moment if first is None else first, count + 1
                    self._hand_over((moment - first, converter.upright(frame)))
                    if self._ended.is_set():
                        return
        except FrameError as error:
            if not self._is_live or first is None:
                self._hand_over(error)
                return
            self.warnings.append(f"the stream has ended: {error}")  # many protocols know no other end
        if not self._is_live and not self._ended.is_set() and count < self._declared:
            self.warnings.append(f"only {count} of its {self._declared} frames were decoded")
        self._hand_over(None)

    def _hand_over(self, found: TimedFrame | FrameError | None) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._pictures.put(found, timeout=0 if self._is_live else 0.1)
                return
            if self._is_live:
                with contextlib.suppress(queue.Empty):
                    self._pictures.get_nowait()
                    self._skipped += 1


class FlowInput(Input):
    """The optical flow of another input, from each picture to the next, as tools/dump_flow.py makes it by default.

    rule: its `resize` is the size at which flow is computed, because motion is measured in pixels.
    """

    def __init__(self, video: Input, rule: CropRule) -> None:
        self._video, self._resize = video, getattr(rule, "resize", None)
        self.name, self.fps, self.warnings = video.name, video.fps, video.warnings
        self.num_frames = None if video.num_frames is None else max(1, video.num_frames - 1)

    @property
    @override
    def longest(self) -> int | None:
        return None if self._video.longest is None else max(1, self._video.longest - 1)

    def frames(self) -> Iterator[TimedFrame]:
        """Yields (seconds, uint8 (H, W, 2)), x and y in grey levels. A field has the time of its second picture."""
        before: np.ndarray | None = None
        for moment, picture in self._video.frames():
            grey = cv2.cvtColor(self._resized(picture), cv2.COLOR_RGB2GRAY)
            if before is not None:
                yield moment, to_levels(dis(before, grey))
            before = grey

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        if self._resize is None:
            return picture
        given = isinstance(self._resize, int)
        size = short_side_size(height, width, self._resize, rounding="nearest") if given else self._resize
        return quick_resize(picture, size, average=size[0] * size[1] < height * width)


def open_input(source: Source, *, fps: float = DEFAULT_FPS) -> Input:
    """Opens a video, a folder of frames, a camera, an address, or frames in memory.

    fps: frame rate of a folder of frames and of frames in memory.
    Raises: FrameError when there is no such input; UserError for a folder of several videos.
    """
    if isinstance(source, Input):
        return source
    if isinstance(source, int) or (isinstance(source, str) and is_endless(source)):
        return open_endless(str(source))
    if isinstance(source, (str, os.PathLike)):
        paths = find_inputs(source)
        if len(paths) > 1:
            raise UserError(f"{source}: has {len(paths)} videos; name one of them")
        return FolderInput(paths[0], fps) if paths[0].is_dir() else VideoInput(paths[0])
    return MemoryInput(source, fps)


def is_endless(given: str) -> bool:
    """Returns whether it means a camera (`0` or `/dev/video0`, unless a file is called so) or is an address."""
    return given.startswith(("/dev/video", *ADDRESSES)) or (given.isdecimal() and not Path(given).exists())


def watches(given: Sequence[str]) -> bool:
    """Returns whether a camera or an address is given. Raises: UserError for one of several inputs."""
    if any(map(is_endless, given)) and len(given) > 1:
        raise UserError("a camera or an address has to be the only input")
    return any(map(is_endless, given))


def open_endless(given: str) -> Input:
    """Opens a camera or an address. Raises: FrameError if nothing can be opened."""
    return StreamInput(given) if given.startswith(ADDRESSES) else CameraInput(given)


def find_inputs(given: str | os.PathLike[str]) -> list[Path]:
    """Returns the videos that a path stands for: itself, or those in a folder and below it.

    A folder without videos stands for the frames in it, and a pattern such as `day?/*.mp4` or `**/*.mp4` for the files
    that match it. Raises: FrameError for a path that does not exist, and for a pattern that nothing matches.
    """
    path = Path(given)
    if not path.exists() and glob.has_magic(str(given)):
        found = glob.iglob(str(given), recursive=True)  # noqa: PTH207 - pathlib takes no pattern with a root
        matches = sorted(match for match in map(Path, found) if match.is_file())
        if not matches:
            raise FrameError(f"{given}: no file matches this pattern")
        return matches
    if not path.exists():
        raise FrameError(f"{given}: no such video, folder, camera or pattern")
    if not path.is_dir():
        return [path]
    return [path / file for file in find_files(path, VIDEO_SUFFIXES)] or [path]


def name_inputs(given: Sequence[str]) -> dict[Path, Path]:
    """Returns the videos that several paths stand for, each with its place below the folder that was given.

    A file that was given has its name. Raises: UserError for two videos with the same place.
    """
    named = {path: path.relative_to(one) if Path(one) in path.parents else Path(path.name)
             for one in given for path in find_inputs(one)}  # fmt: skip
    first = {place: path for path, place in reversed(named.items())}
    for path, place in named.items():
        if first[place] != path:
            raise UserError(f"{first[place]} and {path} would both be called {place}: give a folder that holds both")
    return named


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV from printing its own message when there is no camera."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has in cv2.utils what OpenCV 4 has in cv2
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)
