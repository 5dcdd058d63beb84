"""Finds the videos of a dataset: folders of frames, with or without a manifest, and encoded videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.lists.columns import composed
from datasets.lists.manifest import Manifest
from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.stores.frame_names import list_frames, list_numbers, mixed_series
from tools.listing.splits import SPLITS
from utils.errors import ListError, UserError
from utils.files import find_files, walk

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


def find_videos(dataset: Path, frames: Path, *, count: bool, class_folder: str) -> tuple[list[Found], list[str]]:
    """Returns the videos below `frames` in sorted order, and notes about their classes and those that are left out.

    The manifest gives the class of a video; without it, `folder_classes` does. With `count`, and for videos that the
    manifest does not have, frames are counted on the disk.

    Raises ListError for a folder without frames or with gaps in their numbers.
    """
    manifest = Manifest(dataset)
    videos: list[Found] = []
    unfinished: list[str] = []
    paths = {folder.relative_to(dataset).as_posix(): folder for folder in leaves(frames)}
    others = [path for path in paths if path not in manifest.videos]
    classes, notes = folder_classes([paths[path].relative_to(frames) for path in others], rule=class_folder)
    labels = dict(zip(others, classes, strict=True))
    for path, folder in paths.items():
        known = manifest.videos.get(path)
        if known is not None and known["status"] not in ("ok", "partial"):
            unfinished.append(path)
            continue
        label = composed(known["label"]) if known else labels[path]
        videos.append(Found(path, label, known["frames"] if known and not count else count_frames(folder)))
    notes += [f"{path}: left out, because its dump did not succeed" for path in unfinished]
    gone = [
        path for path, known in manifest.videos.items() if known["status"] == "ok" and not (dataset / path).is_dir()
    ]
    if gone:
        notes.append(f"{len(gone)} videos of {manifest.path} no longer exist, such as {min(gone)}")
    return sorted(videos, key=lambda video: video.path), notes


def find_encoded(folder: Path, *, class_folder: str) -> tuple[list[Found], list[str]]:
    """Returns the encoded videos below a folder, with the classes and the notes of `folder_classes`."""
    files = list(find_files(folder, VIDEO_SUFFIXES))
    below = [file.relative_to(VIDEOS) if file.parts[0] == VIDEOS else file for file in files]
    classes, notes = folder_classes(below, rule=class_folder)
    return [Found(file.as_posix(), label, 0) for file, label in zip(files, classes, strict=True)], notes


def folder_classes(videos: Sequence[Path], *, rule: str) -> tuple[list[str], list[str]]:
    """Returns the class of each video, the name of a folder above it, "" without one; and what to say about them.

    videos: paths below the folder of the class folders; folders such as train/ and val/ that hold all of them are no
        classes.
    rule: "first", the outermost folder, as everywhere where folders stand for classes; "last", the one that contains
        the video. Which one was taken is said where they differ.
    """
    above = [video.parts[:-1] for video in videos]
    if splits_of(above) is not None:
        above = [folders[1:] for folders in above]
    classes = [composed(folders[0 if rule == "first" else -1]) if folders else "" for folders in above]
    deep = next((place for place, folders in enumerate(above) if len(folders) > 1), None)
    if deep is None:
        return classes, []
    other, folder = ("last", above[deep][-1]) if rule == "first" else ("first", above[deep][0])
    said = f"the {rule} folder is the class: {classes[deep]!r} for {videos[deep]}; --class-folder {other}"
    return classes, [f"{said} takes {folder!r}"]


def splits_of(above: Sequence[tuple[str, ...]]) -> list[str] | None:
    """Returns the split of each video if all are below train/, val/ or similar folders with class folders, else None.

    above: the folders above each video.
    """
    if not above or not all(len(folders) > 1 and folders[0].lower() in SPLITS for folders in above):
        return None
    return [SPLITS[folders[0].lower()] for folders in above]


def leaves(frames: Path) -> Iterator[Path]:
    """Yields the folders below `frames` that have no folders in them."""
    for folder, folders, _ in walk(frames):
        if not folders and folder != frames:
            yield folder


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
    if len(series) > 1 and (other := mixed_series(list_numbers(folder), frames.template)) is not None:
        raise ListError(
            f"{folder}: has frames called {frames.template} and others called {other}; all frames of a video must have "
            "the same format"
        )
    return frames.count
