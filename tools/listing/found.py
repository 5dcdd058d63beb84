"""Which videos a dataset of frames holds: from its manifest, and from the folders that no manifest knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.stores.frame_names import list_frames
from tools.listing.manifest import Manifest
from utils.errors import ListError, UserError

VIDEOS = "videos"  # what a dataset may call its folder of encoded videos


@dataclass(frozen=True)
class Found:
    """One folder of frames, or one encoded video or seconds of it.

    path: relative to the dataset, with slashes, as it goes into the lists. label: class name, "" if unknown.
    num_frames: 0 of an encoded video. labels: class names of a set, None where a video has one class. start, end: the
    seconds of an encoded video that are meant, None for all.
    """

    path: str
    label: str
    num_frames: int
    labels: tuple[str, ...] | None = None
    start: float | None = None
    end: float | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """All of its class names, ("",) if they are unknown."""
        return (self.label,) if self.labels is None else self.labels

    @property
    def stem(self) -> str:
        """The path without the suffix of an encoded video."""
        pure = PurePosixPath(self.path)
        return str(pure.with_suffix("")) if pure.suffix.lower() in VIDEO_SUFFIXES else self.path

    @property
    def name(self) -> str:
        """The folder's own name, or the video's without suffix."""
        return PurePosixPath(self.stem).name

    @property
    def place(self) -> tuple[str, float | None, float | None]:
        """What no other entry of the lists is."""
        return self.path, self.start, self.end


def locate(given: Path) -> tuple[Path, Path]:
    """(dataset, folder of frames in it) for a dataset such as data/ucf101 or for a folder of frames itself."""
    if not given.is_dir():
        raise UserError(f"{given}: no such folder")
    frames = given / "frames"
    if frames.is_dir():
        return given, frames
    given = given.resolve()  # "." has no name
    return given.parent, given


def find_videos(dataset: Path, frames: Path, *, count: bool) -> tuple[list[Found], list[str]]:
    """The videos below `frames` in sorted order, and what should be said about those left out.

    A class is what the manifest says, else the name of the folder that a video's folder lies in. With `count`, or where
    there is no manifest, frames are counted on the disk; a folder with gaps in its numbers is an error.
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
    notes = [f"{path}: left out, its dump did not succeed" for path in unfinished]
    gone = [
        path for path, known in manifest.videos.items() if known["status"] == "ok" and not (dataset / path).is_dir()
    ]
    if gone:
        notes.append(f"{len(gone)} videos of {manifest.path} are no longer there, such as {min(gone)}")
    return sorted(videos, key=lambda video: video.path), notes


def find_encoded(folder: Path) -> list[Found]:
    """The encoded videos below a folder; a class is the name of the folder that a video lies in."""
    loose = {Path(), Path(VIDEOS)}
    return [Found(path.as_posix(), "" if path.parent in loose else path.parent.name, 0) for path in walk_videos(folder)]


def walk_videos(root: Path) -> Iterator[Path]:
    """Every video file below `root`, relative to it, in sorted order; links are followed, hidden names left out."""
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
            special = path.exists() and not path.is_file()  # a pipe; a broken link is yielded and fails by its name
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES and not special:
                yield path.relative_to(root)


def leaves(frames: Path) -> Iterator[Path]:
    """Folders without folders in them, hidden ones left out."""
    for name, folders, _ in os.walk(frames, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if not folders and Path(name) != frames:
            yield Path(name)


def count_frames(folder: Path) -> int:
    """The number of frames in a folder, not counting optical flow. Raises ListError if some are missing."""
    series = list_frames(folder)
    if not series:
        raise ListError(f"{folder}: holds no numbered images; remove it, or dump its video")
    frames = series[0]
    if frames.last - frames.first + 1 != frames.count:
        raise ListError(
            f"{folder}: {frames.count} frames called {frames.template}, but their numbers go from {frames.first} to "
            f"{frames.last}; dump this video again"
        )
    return frames.count
