"""The times of the records of a list: whole videos, or the seconds of them that an annotation names."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from datasets.lists.records import RecordList
from datasets.videos.index import VideoTimes, index_videos
from utils.errors import FrameError


class SegmentIndex:
    """The times of n records. Records may share a video, which is scanned once.

    cache: folder of the index of the videos, default the user's cache folder.
    errors: why records have no frames, by their place in the list: their video cannot be read, or is over by then.
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
            first, last = (0, len(times)) if np.isnan(start) else times.places(start, end)
            if first == last:
                what = f"no frame from {start:g} to {end:g} s, its last one is shown at {times.seconds[-1]:.2f} s"
                self.errors[record] = f"{records.full_path(record)}: {what}"
            self._bounds[record] = first, last

    def __len__(self) -> int:
        return len(self._places)

    @property
    def num_videos(self) -> int:
        """How many different videos there are."""
        return len(self._videos)

    def __getitem__(self, record: int) -> VideoTimes:
        """The times of the record's frames, from 0. Raises FrameError if it has none."""
        times = self.video(record)
        if self._spans is None:
            return times
        first, last = self._bounds[record].tolist()
        return replace(times, stamps=times.stamps[first:last])

    def video(self, record: int) -> VideoTimes:
        """The times of the whole video the record is a part of."""
        if record in self.errors:
            raise FrameError(self.errors[record])
        return self._videos[int(self._places[record])]

    def first(self, record: int) -> int:
        """The frame of the video that is the record's first."""
        return int(self._bounds[record, 0])
