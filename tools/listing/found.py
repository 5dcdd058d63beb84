"""Finds the videos of a dataset: folders of frames, with or without a manifest, and encoded videos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.stores.frame_names import list_frames
from tools.listing.manifest import Manifest
from utils.errors import ListError, UserError

VIDEOS = "videos"  # name that a dataset may give to its folder of encoded videos


@dataclass(frozen=True)
class Found:
    """Describes one folder of frames, or one encoded video or a part of it.

    path: relative to the dataset, with slashes, as the lists have it.
    label: class name, "" if unknown.
    num_frames: number of frames; 0 for an encoded video.
    labels: names of a set of classes; None if a video has one class.
    start, end: seconds of the part of an encoded video; None for the whole video.
    """

    path: str
    label: str
    num_frames: int
    labels: tuple[str, ...] | None = None
    start: float | None = None
    end: float | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """All class names of the video; ("",) if they are unknown."""
        return (self.label,) if self.labels is None else self.labels

    @property
    def stem(self) -> str:
        """The path, without the suffix if the video is encoded."""
        pure = PurePosixPath(self.path)
        return str(pure.with_suffix("")) if pure.suffix.lower() in VIDEO_SUFFIXES else self.path

    @property
    def name(self) -> str:
        """The last part of `stem`."""
        return PurePosixPath(self.stem).name

    @property
    def place(self) -> tuple[str, float | None, float | None]:
        """The path and the seconds, which no other entry of the lists has."""
        return self.path, self.start, self.end


def locate(given: Path) -> tuple[Path, Path]:
    """Returns (dataset, folder of frames in it) for a dataset such as data/ucf101, or for a folder of frames itself.

    Raises UserError for a missing folder.
    """
    if not given.is_dir():
        raise UserError(f"{given}: no such folder")
    frames = given / "frames"
    if frames.is_dir():
        return given, frames
    given = given.resolve()  # "." has no name
    return given.parent, given


def find_videos(dataset: Path, frames: Path, *, count: bool) -> tuple[list[Found], list[str]]:
    """Returns the videos below `frames` in sorted order, and notes about those that are left out.

    The manifest gives the class of a video; without it, the name of the folder that contains the video's folder does.
    With `count`, and for videos that the manifest does not have, frames are counted on the disk.

    Raises ListError for a folder without frames or with gaps in their numbers.
    """
    manifest = Manifest(dataset)
    videos: list[Found] = []
    unfinished: list[str] = []
    for folder in leaves(frames):
        path = folder.relative_to(dataset).as_posix()
        known = manifest.videos.get(path)
        if known is not None and known["status"] not in ("ok", "partial"):
            unfinished.append(path)
            continue
        label = known["label"] if known else "" if folder.parent == frames else folder.parent.name
        videos.append(Found(path, label, known["frames"] if known and not count else count_frames(folder)))
    notes = [f"{path}: left out, because its dump did not succeed" for path in unfinished]
    gone = [
        path for path, known in manifest.videos.items() if known["status"] == "ok" and not (dataset / path).is_dir()
    ]
    if gone:
        notes.append(f"{len(gone)} videos of {manifest.path} no longer exist, such as {min(gone)}")
    return sorted(videos, key=lambda video: video.path), notes


def find_encoded(folder: Path) -> list[Found]:
    """Returns the encoded videos below a folder; the name of the folder that contains a video is its class."""
    loose = {Path(), Path(VIDEOS)}
    return [Found(path.as_posix(), "" if path.parent in loose else path.parent.name, 0) for path in walk_videos(folder)]


def walk_videos(root: Path) -> Iterator[Path]:
    """Yields every video file below `root`, relative to it, in sorted order.

    Links are followed, and hidden names are left out.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            special = (
                path.exists() and not path.is_file()
            )  # such as a pipe; a broken link is yielded, and reading it fails with its name
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES and not special:
                yield path.relative_to(root)


def leaves(frames: Path) -> Iterator[Path]:
    """Yields the folders below `frames` that have no folders in them; hidden ones are left out."""
    for name, folders, _ in os.walk(frames, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if not folders and Path(name) != frames:
            yield Path(name)


def count_frames(folder: Path) -> int:
    """Returns the number of frames in a folder without optical flow. Raises ListError if some are missing."""
    series = list_frames(folder)
    if not series:
        raise ListError(f"{folder}: holds no numbered images; remove it, or dump its video")
    frames = series[0]
    if frames.last - frames.first + 1 != frames.count:
        raise ListError(
            f"{folder}: has {frames.count} frames called {frames.template}, but their numbers go from "
            f"{frames.first} to {frames.last}; dump this video again"
        )
    return frames.count
