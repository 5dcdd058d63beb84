"""Finds the frames of the records of a list of encoded videos: whole videos, or spans of them."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from datasets.lists.background import Background, draw_background
from datasets.lists.records import RecordList
from datasets.lists.spans import not_there, seconds_beyond, warn_of_ends, whole_frames, with_context
from datasets.places.files import versioned
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes
from utils.errors import FrameError


class SegmentIndex:
    """Holds the times of the frames of n records. A video that several records share is scanned once.

    cache: folder of the index of the videos; by default the user's cache folder.
    context: share of a span's length by which its record is longer on each side.
    background: how many spans of background are added behind the records; context makes none of them longer.
    records: the list with these added.
    errors: reasons why records have no frames, by their position in the list: the video cannot be read, or it ends
        before the span.
    """

    def __init__(
        self,
        records: RecordList,
        *,
        cache: str | os.PathLike[str] | None = None,
        context: float = 0.0,
        background: Background | None = None,
    ) -> None:
        paths = [records.full_path(record) for record in range(len(records))]
        files = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        places = [files[path] for path in paths]
        videos = index_videos(versioned(list(files)), cache=cache)
        self._videos, self._places, self.records = videos, np.array(places), records
        self._bounds = np.zeros((len(places), 2), np.int64)
        self.errors = {record: videos.errors[place] for record, place in enumerate(places) if place in videos.errors}
        if records.spans is None:
            return
        shown, lengths = self._bounds.copy(), np.zeros(len(places), np.int64)
        beyond = np.zeros(len(places))
        for record, place in enumerate(places):
            if record in self.errors:
                continue
            times, span = videos[place], records.span(record)
            self._bounds[record] = shown[record] = 0, len(times)
            if span is None:
                continue
            between = _frames_between if records.in_frames else VideoTimes.frames_between
            first, last = between(times, *span)
            if first == last or (records.in_frames and span[1] > len(times)):
                what = f"{not_there(frames=records.in_frames)}; it has {len(times)} frames"
                self.errors[record] = f"{records.full_path(record)}: {what}, the last one at {times.clock[-1]:.2f} s"
                continue
            shown[record], lengths[record] = (first, last), len(times) * records.labelled[record]
            if not records.in_frames:  # context is a share of what the video shows of the span
                end, rate = times.begins + times.duration, len(times) / times.duration if times.duration else np.inf
                beyond[record] = seconds_beyond(span[1], end, rate)
                span = np.clip(span, times.begins, times.begins + times.duration).tolist()
            more = between(times, *with_context(span[0], span[1], context))
            self._bounds[record] = min(first, more[0]), max(last, more[1])
        warn_of_ends(records.source, beyond)
        if background is not None:
            self._add(shown, lengths, background)

    def _add(self, shown: np.ndarray, lengths: np.ndarray, background: Background) -> None:
        """Adds records of background."""
        owners, frames = draw_background(shown, self._places, lengths, background)
        spans = frames.astype(np.float64)
        if not self.records.in_frames:
            spans = np.array(
                [_seconds(self.video(owner), *pair) for owner, pair in zip(owners.tolist(), frames, strict=True)]
            )
        self.records = self.records.with_more(owners, spans.reshape(-1, 2), frames, label=background.label)
        self._bounds = np.concatenate([self._bounds, frames])
        self._places = np.concatenate([self._places, self._places[owners]])

    def __len__(self) -> int:
        return len(self._places)

    @property
    def facts(self) -> dict[str, str]:
        """The sizes and times of the files of the videos, as datasets.videos.index.facts_of returns them."""
        return self._videos.facts

    @property
    def num_videos(self) -> int:
        """The number of different videos."""
        return len(self._videos)

    def __getitem__(self, record: int) -> VideoTimes:
        """Returns the times of the record's frames. Raises FrameError if it has no frame."""
        times = self.video(record)
        if self.records.spans is None:
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


def _frames_between(times: VideoTimes, start: float, end: float) -> tuple[int, int]:
    """Returns the first frame from `start` on, and the first one from `end` on, both counted in frames."""
    first, last = np.minimum(whole_frames([start, end]), len(times)).tolist()
    return first, last


def _seconds(times: VideoTimes, first: int, stop: int) -> tuple[float, float]:
    """Returns when the frames from `first` to before `stop` begin and end."""
    end = times.clock[stop] if stop < len(times) else times.begins + times.duration
    return round(float(times.clock[first]), 3), round(float(end), 3)
