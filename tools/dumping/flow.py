"""Dumps the optical flow of one video in a worker process and moves the finished fields next to the frames."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets.stores.disk import sums_name, write_sums
from datasets.videos.video import Video
from tools.dumping.video import (
    Job,
    Settings,
    chosen_pictures,
    fingerprint,
    guarded,
    resized,
    stop_if_orphan,
    sync_files,
    write_jpeg,
)
from utils.errors import FrameError
from utils.files import sync_folder
from utils.transforms.flow import ALGORITHMS, BOUND, to_levels
from utils.transforms.image import decode_image

X, Y, FIRST_FIELD = "flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg", 1


@dataclass(frozen=True)
class FlowSettings:
    """Decides how the fields look.

    algorithm: a name in utils.transforms.flow.ALGORITHMS.
    bound: motion in pixels that becomes grey level 0 or 255.
    step: flow leads from each picture to the `step`-th one after it.
    quality: of the JPEGs, 1..100.
    """

    algorithm: str = "dis"
    bound: float = BOUND
    step: int = 1
    quality: int = 95

    def as_json(self) -> dict[str, Any]:
        """Returns the settings as the manifest has them."""
        return asdict(self)


@dataclass(frozen=True)
class FlowJob(Job):
    """Describes one video whose optical flow is to be dumped.

    source: its folder of frames, or the video file if `decoded` is given.
    template, first, last: file names of the frames and their lowest and highest number; template is "" without frames.
    count: number of frames in the folder.
    decoded: how the video was dumped, to decode it again instead of reading its frames.
    sha256: of the file that was dumped; "" where nothing says it.
    """

    settings: FlowSettings  # type: ignore[assignment]
    template: str = ""
    first: int = 0
    last: int = -1
    count: int = 0
    decoded: Job | None = None
    sha256: str = ""

    @property
    def building(self) -> Path:
        """The folder that the fields are written to until they are complete."""
        return self.hidden("flow.tmp")


def dump_flow(job: FlowJob) -> dict[str, Any]:
    """Dumps the flow of one video and returns its line of the manifest, with status "failed" if it cannot be read.

    Raises OutOfReachError if the output is full or read-only.
    """
    cv2.setNumThreads(0)  # there is one process per core already
    return guarded(job, _dump)


def _dump(job: FlowJob) -> dict[str, Any]:
    settings = job.settings
    algorithm = ALGORITHMS[settings.algorithm]
    if not job.template:
        raise FrameError(f"{job.target}: holds no numbered images")
    if job.last - job.first + 1 != job.count:
        raise FrameError(f"{job.target}: some of {job.template} are missing; dump its frames again")
    _clear(job.target)
    job.building.mkdir(parents=True)
    recent: deque[np.ndarray] = deque(maxlen=settings.step + 1)
    sums: dict[str, dict[str, int]] = {X: {}, Y: {}}
    seen = fields = 0
    for picture in _pictures(job):
        stop_if_orphan()
        seen += 1
        recent.append(picture)
        if recent[0].shape != picture.shape:
            raise FrameError(f"{job.source}: frame {seen} has another size than the frames before it")
        if len(recent) > settings.step:
            levels = to_levels(algorithm(recent[0], picture), settings.bound)
            for template, channel in ((X, levels[..., 0]), (Y, levels[..., 1])):
                name = template.format(FIRST_FIELD + fields)
                sums[template][name] = write_jpeg(job.building / name, np.ascontiguousarray(channel), settings.quality)
            fields += 1
    if seen != job.count:
        raise FrameError(f"{job.source}: gives {seen} pictures, but {job.target} has {job.count} frames")
    if not fields:
        raise FrameError(
            f"{job.target}: has {seen} frames; flow with step {settings.step} needs at least {settings.step + 1}"
        )
    for template, known in sums.items():
        write_sums(job.building, template, known)
    _move_in(job)
    return {"status": "ok", "errors": [], "frames": seen, "fields": fields}


def _pictures(job: FlowJob) -> Iterator[np.ndarray]:
    """Yields the pictures of a video in order, grey uint8 (H, W)."""
    if job.decoded is not None:
        assert isinstance(job.decoded.settings, Settings)
        if job.sha256 and fingerprint(job.decoded.source)["sha256"] != job.sha256:
            raise FrameError(
                f"{job.decoded.source}: is not the file that {job.target} was dumped from; leave out --from-videos, or "
                "dump its frames again"
            )
        video = Video(job.decoded.source)
        for picture in islice(chosen_pictures(video, job.decoded), 0, None, job.decoded.settings.every):
            yield cv2.cvtColor(resized(picture, job.decoded.settings), cv2.COLOR_BGR2GRAY)
        return
    for number in range(job.first, job.last + 1):
        file = job.target / job.template.format(number)
        try:
            yield cv2.cvtColor(decode_image(file.read_bytes()), cv2.COLOR_RGB2GRAY)
        except ValueError as error:
            raise FrameError(f"{file}: not a readable image: {error}") from None


def _clear(folder: Path) -> None:
    """Removes the flow of an earlier run, the first field first, because a folder without it counts as without flow."""
    (folder / X.format(FIRST_FIELD)).unlink(missing_ok=True)
    for template in (X, Y):
        for file in (*folder.glob(template.replace("{:05d}", "*")), folder / sums_name(template)):
            file.unlink(missing_ok=True)


def _move_in(job: FlowJob) -> None:
    """Moves the fields file by file, the first x picture last, so that it exists only if all others do."""
    sync_files(job.building)
    stop_if_orphan()
    last = job.building / X.format(FIRST_FIELD)
    for file in job.building.iterdir():
        if file != last:
            file.rename(job.target / file.name)
    sync_folder(job.target)
    last.rename(job.target / last.name)
    sync_folder(job.target)
    shutil.rmtree(job.building)
