"""Finds the frames of the records of a list: whole videos, or the parts of them that an annotation names."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from datasets.lists.records import RecordList
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes
from utils.errors import FrameError


class SegmentIndex:
    """Holds the times of the frames of n records. A video that several records share is scanned once.

    cache: folder of the index of the videos; by default the user's cache folder.
    errors: reasons why records have no frames, by their position in the list: the video cannot be read, or it ends
        before the record's seconds.
    """

    def __init__(self, records: RecordList, *, cache: str | os.PathLike[str] | None = None) -> None:
        paths = [records.full_path(record) for record in range(len(records))]
        files = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        places = [files[path] for path in paths]
        videos = index_videos(list(files), cache=cache)
        self._videos, self._places, self._spans = videos, np.array(places), records.spans
        self._bounds = np.zeros((len(places), 2), np.int64)
        self.errors = {record: videos.errors[place] for record, place in enumerate(places) if place in videos.errors}
        if self._spans is None:
            return
        for record, (start, end) in enumerate(self._spans.tolist()):
            if record in self.errors:
                continue
            times = videos[places[record]]
            first, last = (0, len(times)) if np.isnan(start) else times.frames_between(start, end)
            if first == last:
                what = f"no frame from {start:g} to {end:g} s; the last frame is shown at {times.clock[-1]:.2f} s"
                self.errors[record] = f"{records.full_path(record)}: {what}"
            self._bounds[record] = first, last

    def __len__(self) -> int:
        return len(self._places)

    @property
    def num_videos(self) -> int:
        """The number of different videos."""
        return len(self._videos)

    def __getitem__(self, record: int) -> VideoTimes:
        """Returns the times of the record's frames. Raises FrameError if it has no frame."""
        times = self.video(record)
        if self._spans is None:
            return times
        first, last = self._bounds[record].tolist()
        return replace(times, stamps=times.stamps[first:last])

    def video(self, record: int) -> VideoTimes:
        """Returns the times of the whole video that the record is a part of. Raises FrameError."""
        if record in self.errors:
            raise FrameError(self.errors[record])
        return self._videos[int(self._places[record])]

    def first(self, record: int) -> int:
        """Returns which frame of the video is the record's first one."""
        return int(self._bounds[record, 0])
