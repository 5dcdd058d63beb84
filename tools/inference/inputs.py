"""What a trained network looks at: a video file, a folder of frames, a camera, each as a stream of timed pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from datasets.stores.frame_names import FLOW_PREFIXES, list_numbers
from datasets.videos.video import VIDEO_SUFFIXES, TimedFrame, Video
from utils.errors import FrameError, UserError
from utils.transforms.crops import CropRule, short_side_size
from utils.transforms.flow import dis, to_levels
from utils.transforms.image import decode_image, quick_resize

DEFAULT_FPS = 25.0  # of frames and files that do not say


class Input(Protocol):
    """Pictures in the order of showing.

    fps: pictures per second, on average. num_frames: how many, as far as is known before decoding; None for a camera,
    which has no end. warnings: what was wrong with it, complete after `frames` has ended.
    """

    name: str
    fps: float
    num_frames: int | None
    warnings: list[str]

    def frames(self) -> Iterator[TimedFrame]:
        """(seconds, uint8 (H, W, C)), RGB, decoded as they are asked for."""
        ...


class VideoInput:
    """A video file."""

    def __init__(self, path: Path) -> None:
        self._video = Video(path)
        info = self._video.info
        self.name, self.fps = str(path), info.fps or DEFAULT_FPS
        self.num_frames: int | None = max(1, len(info.times))
        self.warnings = self._video.errors

    def frames(self) -> Iterator[TimedFrame]:
        """Decodes from the first to the last frame."""
        return self._video.frames()


class FramesInput:
    """A folder of numbered images, `fps` a second."""

    def __init__(self, folder: Path, fps: float) -> None:
        numbered = list_numbers(folder)
        series = {name: found for name, found in numbered.items() if not name.startswith(FLOW_PREFIXES)}
        if not series:
            raise FrameError(f"{folder}: holds neither videos nor numbered frames, such as img_00001.jpg")
        template, numbers = max(series.items(), key=lambda item: (len(item[1]), item[0]))
        self._files = [folder / template.format(number) for number in numbers]
        self.name, self.fps = str(folder), fps
        self.num_frames: int | None = len(numbers)
        self.warnings: list[str] = []
        if len(series) > 1:
            self.warnings.append(f"{len(series)} series of images in the folder; took the longest, {template}")

    def frames(self) -> Iterator[TimedFrame]:
        """Decodes image by image. Raises: FrameError naming the file that is none."""
        for index, file in enumerate(self._files):
            try:
                yield index / self.fps, decode_image(file.read_bytes())
            except (OSError, ValueError) as error:
                raise FrameError(f"{file}: not a readable image: {error}") from None


class CameraInput:
    """A camera by its number or device file, from now on."""

    num_frames: int | None = None

    def __init__(self, camera: str) -> None:
        self.name, self.warnings = f"camera {camera}", list[str]()
        with _quiet():
            self._capture = cv2.VideoCapture(int(camera) if camera.isdigit() else camera)
        if not self._capture.isOpened():
            raise FrameError(f"{self.name}: there is no such camera, or another program uses it")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS

    def frames(self) -> Iterator[TimedFrame]:
        """Pictures until the camera is gone; seconds since the first."""
        began = time.monotonic()
        try:
            while True:
                good, frame = self._capture.read()
                if not good:
                    return
                yield time.monotonic() - began, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()


class FlowInput:
    """The optical flow of another input, from each picture to the next, as tools/dump_flow.py makes it by default.

    rule: its `resize` is the size at which flow is computed, since pixels of motion depend on it. A field has the time
    of its second picture.
    """

    def __init__(self, video: Input, rule: CropRule) -> None:
        self._video, self._resize = video, getattr(rule, "resize", None)
        self.name, self.fps, self.warnings = video.name, video.fps, video.warnings
        self.num_frames = None if video.num_frames is None else max(1, video.num_frames - 1)

    def frames(self) -> Iterator[TimedFrame]:
        """(seconds, uint8 (H, W, 2)): x and y in grey levels."""
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


def is_camera(given: str) -> bool:
    """Whether `0` or `/dev/video0` is meant, and no file of that name."""
    return (given.isdigit() and not Path(given).exists()) or given.startswith("/dev/video")


def find_inputs(given: str) -> list[Path]:
    """The videos that a path stands for: itself, or those in a folder and below it.

    Raises: FrameError for a path that is not there.
    """
    path = Path(given)
    if not path.exists():
        raise FrameError(f"{given}: no such video, folder or camera")
    if not path.is_dir():
        return [path]
    videos = [file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    return sorted(videos) or [path]


def open_input(path: Path, *, fps: float = DEFAULT_FPS) -> Input:
    """Opens one of `find_inputs`; fps is that of frames in a folder. Raises: FrameError."""
    return FramesInput(path, fps) if path.is_dir() else VideoInput(path)


def open_single(given: str, *, fps: float = DEFAULT_FPS) -> Input:
    """The one video or folder of frames that is named. Raises: FrameError; UserError for a folder of several videos."""
    paths = find_inputs(given)
    if len(paths) > 1:
        raise UserError(f"{given}: has {len(paths)} videos; name one of them")
    return open_input(paths[0], fps=fps)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV from saying in its own words that there is no camera."""
    logging = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 has what OpenCV 4 has on top
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(before)
