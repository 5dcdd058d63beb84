"""Finds the videos that labels name below a folder, and what these videos are like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from datasets.lists.columns import composed
from datasets.lists.tables import VIDEO_SUFFIXES
from datasets.spans.frame_clock import FrameClock, clock_of
from datasets.spans.span import LabeledVideo, without_suffix
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes
from utils.errors import FrameError, ListError
from utils.files import find_files


class PathNames:
    """Knows paths by every name that a label file may give them.

    A name is a path of which one is the end of the other: labels may name less than the path, or more, such as a path
    on another machine. The suffix may be absent or another one. A whole path is only that video, whatever else ends
    like it.

    paths: of videos, with slashes between folders. where: where they are, for messages.
    """

    def __init__(self, paths: Iterable[str], where: str) -> None:
        self._where = where
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            for form in {composed(path), without_suffix(path)}:
                self._whole[form].append(path)
                for end in _ends(form):
                    self._ends[end].append(path)

    def find(self, name: str) -> str | None:
        """Returns the path that a name means; None if no path fits. Raises ListError if several do."""
        slashes = composed(name.replace("\\", "/")).removeprefix("./")
        for form in (slashes, without_suffix(slashes)):
            found = self._whole.get(form) or self._ends.get(form)
            found = found or next((self._whole[end] for end in _ends(form) if end in self._whole), None)
            if found is None:  # crawlers of ActivityNet put v_ in front of the id
                found = self._ends.get(f"v_{form}")
            if found and len(found) > 1:
                raise ListError(f"{name}: may be {found[0]} or {found[1]} {self._where}; name it by its whole path")
            if found:
                return found[0]
        return None


class VideoFiles:
    """Knows the videos below a folder by every name that a label file may give them. Each video is scanned once.

    Raises ListError if there is no such folder, or for a name that may be two videos.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ListError(f"{folder}: no such folder; --videos is the folder of the videos")
        self.folder = folder
        files = (file.as_posix() for file in find_files(folder, VIDEO_SUFFIXES))
        self._names = PathNames(files, f"below {folder}")
        self._times: dict[str, VideoTimes | str] = {}

    def path(self, name: str) -> str | None:
        """Returns the path of a video below the folder, as the disk spells it; None if it is not there."""
        return self._names.find(name)

    def look_at(self, names: Iterable[str]) -> None:
        """Scans the videos of these names that are there."""
        paths = [path for path in {self.path(name) for name in names} if path is not None and path not in self._times]
        if not paths:
            return
        index = index_videos([str(self.folder.resolve() / path) for path in sorted(paths)])
        for place, path in enumerate(sorted(paths)):
            try:
                self._times[path] = index[place]
            except FrameError as error:
                self._times[path] = str(error)

    def clock(self, name: str) -> FrameClock | None:
        """Returns the times of a video's frames; None if it is not there, cannot be read, or has one frame."""
        times = self._scanned(name)
        return clock_of(times) if isinstance(times, VideoTimes) else None

    def fault(self, name: str) -> str:
        """Returns why a video cannot be used: it is not there, or cannot be read; "" if it can."""
        times = self._scanned(name)
        if times is None:
            return f"the video {name} is not below {self.folder}"
        return times if isinstance(times, str) else ""

    def complete(self, video: LabeledVideo) -> LabeledVideo:
        """Fills in what the labels do not say of a video that is there: duration, frames and their times."""
        times = self._scanned(video.name)
        if not isinstance(times, VideoTimes):
            return video
        clock = None if video.fps else self.clock(video.name)
        return replace(
            video,
            clock=clock,
            duration=video.duration or seconds_of(times),
            fps=video.fps or (None if clock is None else clock.fps),
            num_frames=video.num_frames or len(times),
        )

    def seconds(self, name: str) -> float | None:
        """Returns the duration of a video; None if it is not there or cannot be read."""
        times = self._scanned(name)
        return seconds_of(times) if isinstance(times, VideoTimes) else None

    def _scanned(self, name: str) -> VideoTimes | str | None:
        self.look_at([name])
        path = self.path(name)
        return None if path is None else self._times[path]


def seconds_of(times: VideoTimes) -> float:
    """Returns the duration of a file, to a microsecond: ticks add up to 3.0000000000000004."""
    return round(times.begins + times.duration, 6)


def _ends(path: str) -> list[str]:
    """Returns a path and all of its ends: a/b/c, b/c and c."""
    parts = PurePosixPath(path).parts
    return ["/".join(parts[place:]).replace("//", "/") for place in range(len(parts))]
