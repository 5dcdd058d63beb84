"""Dumps the frames of one video in a worker process: decodes, chooses, resizes and writes them.

Frames are written into a hidden folder that gets its final name when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

from datasets.stores.disk import write_sums
from datasets.videos.container import bits_of, opened
from datasets.videos.scan import VideoTimes
from datasets.videos.video import TimedFrame, Video, at_rate, between
from utils.errors import FrameError
from utils.files import sha256, sync_folder
from utils.transforms.image import quick_resize

TEMPLATE, FIRST_FRAME = "img_{:05d}.jpg", 1
EVERY_VERSION = 8  # bits of a colour that all versions have converted alike
# errors that every other video would meet as well, so the run ends
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Sizes(Protocol):
    """Knows the size that pictures get."""

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Returns (width, height) of what a picture of this size becomes."""
        ...


@dataclass(frozen=True)
class Settings:
    """Decides how the pictures look.

    size: (0, 0) keeps the size, (0, s) makes the short side s, (w, h) is the exact width and height.
    fps: constant frame rate; 0 keeps all frames.
    every: keeps every n-th of these frames.
    quality: of the JPEGs, 1..100.
    """

    size: tuple[int, int] = (0, 256)
    fps: float = 0.0
    every: int = 1
    quality: int = 95

    def as_json(self) -> dict[str, Any]:
        """Returns the settings as the manifest has them."""
        return {**asdict(self), "size": list(self.size)}

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Returns (width, height) of the JPEG for a picture of this size."""
        wanted_width, wanted_height = self.size
        if wanted_width:
            return wanted_width, wanted_height
        if not wanted_height:
            return width, height
        scale = wanted_height / min(height, width)
        return (wanted_height, round(height * scale)) if width < height else (round(width * scale), wanted_height)


@dataclass(frozen=True)
class Job:
    """Describes one video to dump.

    source: the video file.
    video: its folder of frames relative to the dataset, with slashes.
    label: class name, "" if unknown.
    start, end: seconds of the part to dump; None for the whole video.
    settings: how the pictures look.
    out: folder of the dataset.
    keep_partial: whether to keep the readable frames of a damaged video.
    """

    source: Path
    video: str
    label: str
    start: float | None
    end: float | None
    settings: Settings
    out: Path
    keep_partial: bool

    @property
    def target(self) -> Path:
        """The folder that gets the frames."""
        return self.out / self.video

    @property
    def building(self) -> Path:
        """The folder that the frames are written to until they are complete."""
        return self.hidden("tmp")

    def hidden(self, suffix: str) -> Path:
        """Returns a place beside the target, with a name that is short where the target's is as long as can be."""
        digest = hashlib.sha256(os.fsencode(self.target.name)).hexdigest()[:32]
        return self.target.with_name(f".{digest}.{suffix}")


SomeJob = TypeVar("SomeJob", bound=Job)


class OutOfReachError(Exception):
    """Says that nothing can be written to the output any more."""


def fingerprint(source: Path) -> dict[str, Any]:
    """Returns size, time and hash of a source file, which show whether it has changed."""
    stat = source.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256(source)}


def has_other_colours(source: Path, known: dict[str, Any]) -> bool:
    """Returns whether a video has more than 8 bits and was dumped by a version that converted these otherwise.

    known: its line of the manifest, which such versions wrote without `bits`; those of other videos get it here, so
        that each is opened once.
    """
    if "bits" in known or not source.is_file():
        return False
    try:
        with opened(source) as (_, stream):
            bits = bits_of(stream)
    except FrameError:
        return False
    if bits <= EVERY_VERSION:
        known["bits"] = bits
    return bits > EVERY_VERSION


def dump_video(job: Job) -> dict[str, Any]:
    """Dumps one video and returns its line of the manifest, with status "failed" if the video cannot be read.

    Raises OutOfReachError if the output is full or read-only.
    """
    cv2.setNumThreads(0)  # there is one process per core already
    return guarded(job, lambda job: fingerprint(job.source) | _dump(job))


def guarded(job: SomeJob, work: Callable[[SomeJob], dict[str, Any]]) -> dict[str, Any]:
    """Runs `work` on a job and returns its line of the manifest, or a failed line if it raises an error of one video.

    Raises OutOfReachError if nothing can be written any more.
    """
    shutil.rmtree(job.building, ignore_errors=True)
    try:
        return failure(job, "") | work(job)
    except FrameError as error:
        return failure(job, str(error))
    except OSError as error:
        if error.errno in FATAL:
            raise OutOfReachError(f"{job.out}: {error.strerror}") from error
        return failure(job, f"{job.source}: {error.strerror or error}")
    finally:
        stop_if_orphan()  # the next run has removed the files under this one, and builds there now
        shutil.rmtree(job.building, ignore_errors=True)


def failure(job: Job, error: str) -> dict[str, Any]:
    """Returns the line of the manifest for a video without frames."""
    known = {"video": job.video, "label": job.label, "source": str(job.source), "start": job.start, "end": job.end}
    return {**known, "status": "failed", "frames": 0, "errors": [error]}


def _dump(job: Job) -> dict[str, Any]:
    video = Video(job.source)
    info = video.info
    if job.settings.fps and not info.fps:
        raise FrameError(f"{job.source}: has no known frame rate, which --fps needs")
    _make_building(job)
    height = width = count = 0
    sums: dict[str, int] = {}
    for picture in islice(chosen_pictures(video, job), 0, None, job.settings.every):
        stop_if_orphan()
        count += 1
        height, width = picture.shape[:2]
        name = TEMPLATE.format(count - 1 + FIRST_FRAME)
        sums[name] = write_jpeg(job.building / name, resized(picture, job.settings), job.settings.quality)
    errors = list(video.errors)
    ends = info.times.begins + info.duration
    if not count and not errors:
        over = f"no frame from {job.start} to {job.end} s; the video ends at {ends:.2f} s"
        errors.append(over if job.end is not None else "contains no frames")
    status = "ok" if not errors else "partial" if job.keep_partial and count else "failed"
    if status != "failed":
        write_sums(job.building, TEMPLATE, sums)
        _rename_in(job)
    else:
        shutil.rmtree(job.target, ignore_errors=True)  # from an earlier run: of another file, or with --keep-partial
    short = max(job.end - ends, 0.0) if job.end is not None else 0.0
    out_width, out_height = job.settings.target(height, width) if count else (0, 0)
    return {
        **{"status": status, "errors": errors, "frames": count if status != "failed" else 0, "decoded_frames": count},
        **{"width": out_width, "height": out_height, "decoder": "pyav", "codec": info.codec},
        **{"source_width": width, "source_height": height, "source_fps": round(info.fps, 6)},
        **{"source_frames": len(info.times), "source_seconds": round(info.duration, 6)},
        **{"begins": round(_begins(info.times, job), 6), "bits": info.bits},
        # annotations are rounded, so less than a frame does not count as missing
        **({"cut_short": round(short, 6)} if short > 1 / (info.fps or 25) else {}),
        **({"notes": info.notes} if info.notes else {}),
    }


def _make_building(job: Job) -> None:
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):  # another part has removed the folder of the class, still empty
            job.building.mkdir(parents=True)
            return
    job.building.mkdir(parents=True)


def _begins(times: VideoTimes, job: Job) -> float:
    """Returns the seconds at which the first dumped frame is shown, from the start of the file or of the job's part."""
    if job.start is None or job.end is None:
        return times.begins
    first, stop = times.frames_between(job.start, job.end)
    # at a constant rate the first frame also fills the time before it
    return 0.0 if job.settings.fps or first == stop else max(float(times.clock[first]) - job.start, 0.0)


def chosen_pictures(video: Video, job: Job) -> Iterator[np.ndarray]:
    """Yields the BGR pictures of the job's seconds at its frame rate; `every` is not applied."""
    frames: Iterator[TimedFrame] = video.frames(order="bgr")
    begins, duration = video.info.times.begins, video.info.duration
    if job.start is not None and job.end is not None:
        frames = between(frames, job.start, job.end)
        duration = min(job.end, begins + duration) - job.start
    elif job.settings.fps:
        frames = ((time - begins, picture) for time, picture in frames)
    if job.settings.fps:
        frames = at_rate(frames, job.settings.fps, duration)
    return (picture for _, picture in frames)


def resized(picture: np.ndarray, settings: Sizes) -> np.ndarray:
    """Resizes a picture as the settings say."""
    height, width = picture.shape[:2]
    target = settings.target(height, width)
    if target == (width, height):
        return picture
    return quick_resize(picture, target[::-1], average=target[0] * target[1] < width * height)


def write_jpeg(path: Path, picture: np.ndarray, quality: int) -> int:
    """Writes a BGR or grey picture as JPEG and returns its checksum. Raises: FrameError if it cannot be encoded."""
    good, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise FrameError(f"{path}: OpenCV cannot encode {picture.shape[1]}x{picture.shape[0]} pixels as JPEG")
    data = encoded.tobytes()
    path.write_bytes(data)
    return zlib.crc32(data)


def _rename_in(job: Job) -> None:
    sync_files(job.building)
    stop_if_orphan()  # syncing takes long enough for the next run to begin
    old = job.hidden("old")
    shutil.rmtree(old, ignore_errors=True)
    if job.target.exists():
        job.target.rename(old)
    job.building.rename(job.target)
    sync_folder(job.target.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """Makes the files of a folder durable."""
    # after all files are written, so that the disk is waited for once and not for every frame
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


_parent = os.getppid()


def stop_if_orphan() -> None:
    """Ends this process if its parent has ended."""
    # after a kill -9 of the main process the next run must not share the folder with old workers
    if os.getppid() != _parent:
        os._exit(1)
