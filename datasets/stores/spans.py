"""Finds the frames of the spans of a list: from seconds, with some context, and not beyond the end of their video.

How many frames a folder has, when the first one is shown and how fast the others follow is known from the manifest of
its dump. Without one, the store counts the frames, the config gives the rate, and the first one is shown at 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.lists.background import Background, draw_background
from datasets.lists.manifest import dumped_below
from datasets.lists.records import RecordList
from datasets.lists.spans import not_there, seconds_beyond, warn_of_ends, whole_frames, with_context
from datasets.stores.disk import FrameStore
from utils.errors import ListError


def find_frames(
    records: RecordList,
    store: FrameStore,
    *,
    fps: float | None = None,
    context: float = 0.0,
    background: Background | None = None,
    allowed: int = 0,
) -> RecordList:
    """Returns the list with the frames of all its records; itself where it gives them already.

    fps: frames per second of folders that are in no manifest.
    context: share of a span's length by which the record is longer on each side.
    background: how many spans of background are added behind the records; context makes none of them longer.
    allowed: number of spans that may lie behind the end of their video; reading such a span is a fault.

    Raises ListError with file and line for a video of unknown length or rate, and for too many spans without a frame.
    """
    spans, counts = records.spans, records.num_frames
    if spans is None:
        background = None
    if counts.all() and not (context and spans is not None) and background is None:
        return records
    lengths, rates, begins, videos = lengths_and_times(records, store, fps)
    length = lengths[videos]
    if (unknown := ((counts == 0) | (background is not None)) & (length <= 0)).any():
        index = int(np.argmax(unknown))
        raise ListError(
            f"{records.where(index)}: {records.path(index)!r} has no frames that could be counted, below "
            f"{records.root}; check train_root / val_root, or dump the video"
        )
    if spans is None:
        return records.with_frames(np.zeros(len(records), np.int32), length.astype(np.int32))
    whole = ~(spans[:, 0] >= 0)
    start, end = np.where(whole[:, None], 0, spans).astype(np.float64).T
    rate = np.where(whole | records.in_frames, 1.0, rates[videos])
    shift = np.where(whole | records.in_frames, 0.0, begins[videos])
    if not records.in_frames:
        if (unknown := ~(rate > 0)).any():
            raise ListError(_no_rate(records, int(np.argmax(unknown))))
        inside = ~whole & (length > 0)
        warn_of_ends(records.source, np.where(inside, seconds_beyond(end, shift + length / rate, rate), 0.0))
        start, end = (start - shift) * rate, (end - shift) * rate  # in frames from here on
    known = np.where(length > 0, length, np.iinfo(np.int32).max)
    first, stop = whole_frames(start), np.where(whole, length, whole_frames(end))
    # seconds are rounded, so the end of a span may lie behind that of its video; a frame that is not there is an error
    missing = (stop > known) if records.in_frames else (np.minimum(stop, known) <= first)
    _refuse(records, missing, length, allowed=allowed)
    shown = np.stack([first, np.minimum(stop, known)], axis=1)
    # context is a share of what the video shows of the span
    start, end = np.clip(start, 0, known), np.clip(end, 0, known)
    with_more = [whole_frames(moments) for moments in with_context(start, end, context)]
    first = np.where(missing | whole, first, with_more[0])
    stop = np.where(missing, np.maximum(stop, first + 1), np.minimum(np.where(whole, stop, with_more[1]), known))
    found = records.with_frames(first.astype(np.int32), (stop - first).astype(np.int32))
    if background is None:
        return found
    owners, frames = draw_background(shown, videos, np.where(missing | ~records.labelled, 0, length), background)
    moments = np.round(frames / rate[owners, None] + shift[owners, None], 3)
    return found.with_more(owners, moments, frames, label=background.label)


def lengths_and_times(
    records: RecordList, store: FrameStore, fps: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns number of frames, rate and first moment of each different video, and which video each record is of.

    Unknown numbers are -1, unknown rates nan, unknown moments 0.
    """
    places: dict[str, int] = {}
    videos = np.array([places.setdefault(records.path(index), len(places)) for index in range(len(records))])
    lengths, rates = np.full(len(places), -1, np.int64), np.full(len(places), np.nan if fps is None else fps)
    begins = np.zeros(len(places))
    root = records.root
    for dump in dumped_below(root) if isinstance(root, Path) else ():  # nobody looks for a manifest at an address
        if dump.frames and (place := places.get(dump.path)) is not None:
            lengths[place], rates[place], begins[place] = dump.frames, dump.fps or rates[place], dump.begins
    count = getattr(store, "num_frames", None)
    for path, place in places.items():
        if lengths[place] < 0 and count is not None:
            lengths[place] = count(path)
    return lengths, rates, begins, videos


def _no_rate(records: RecordList, index: int) -> str:
    return (
        f"{records.where(index)}: this span of {records.path(index)!r} is in seconds, and no manifest.jsonl of a dump "
        f"in {records.root} or above it knows its frames per second; set data.fps, or give start_frame and end_frame"
    )


def _refuse(records: RecordList, missing: np.ndarray, length: np.ndarray, *, allowed: int) -> None:
    """Raises ListError for spans that are not in their videos, if there are more than `allowed` or no other records."""
    if missing.sum() > allowed or missing.all():
        index = int(np.argmax(missing))
        others = f"; {missing.sum() - 1} more such spans" if missing.sum() > 1 else ""
        what = f"{records.path(index)!r} {not_there(frames=records.in_frames)}; it has {length[index]} frames"
        raise ListError(
            f"{records.where(index)}: {what}{others}; bad_frame_budget is {allowed} (tools/check_data.py names all)"
        )
