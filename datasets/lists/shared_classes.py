"""Gives the spans of a video all classes that their frames show, where records have sets of classes.

Lines with the same path and span are one record with the classes of all of them. A span also has the classes of the
spans of its video that cover it, because every frame of it shows those as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from datasets.lists.records import RecordList
from utils.scoring.label_sets import LabelSets, label_sets

Name = TypeVar("Name", bound=Hashable)
Span = tuple[float, float] | None


def share_classes(
    paths: Sequence[str], spans: Sequence[Span], classes: Sequence[tuple[Name, ...] | None]
) -> dict[int, tuple[Name, ...] | None]:
    """Returns the classes of the records that n lines give, in order, by the position of their first line.

    spans: None for a whole video, which covers no span. classes: None where they are unknown.
    """
    found = join_classes(paths, spans, classes)
    videos: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for place, names in found.items():
        if (span := spans[place]) is not None and names is not None:
            videos[paths[place]].append((*span, place))
    for of_video in videos.values():
        until: dict[Name, float] = {}  # the latest end of the spans of a class that have begun
        for _, end, place in sorted(of_video, key=lambda one: (one[0], -one[1])):  # what covers comes first
            own = found[place] or ()
            until |= {name: max(end, until.get(name, end)) for name in own}
            found[place] = tuple(dict.fromkeys((*own, *(name for name, last in until.items() if last >= end))))
    return found


def join_classes(
    paths: Sequence[str], spans: Sequence[Span], classes: Sequence[tuple[Name, ...] | None]
) -> dict[int, tuple[Name, ...] | None]:
    """Joins the classes of lines with the same path and span, like `share_classes`, which takes the same arguments.

    No span gets the classes of another one.
    """
    first: dict[tuple[str, Span], int] = {}
    found: dict[int, tuple[Name, ...] | None] = {}
    for line, (path, span, own) in enumerate(zip(paths, spans, classes, strict=True)):
        place = first.setdefault((path, span), line)
        before = found.setdefault(place, own)
        if before is not own and own is not None:
            found[place] = tuple(dict.fromkeys((*(before or ()), *own)))
    return found


def with_shared_classes(records: RecordList) -> RecordList:
    """Returns a list of spans in frames with all their classes; itself if no two spans of a video overlap."""
    labels, spans = records.labels, records.spans
    if not isinstance(labels, LabelSets) or spans is None:
        return records
    numbers: dict[str, int] = {}
    paths = [records.path(index) for index in range(len(records))]
    videos = np.array([numbers.setdefault(path, len(numbers)) for path in paths])
    order = np.lexsort((spans[:, 0], videos))
    same = np.diff(videos[order]) == 0
    if not (same & (spans[order[1:], 0] < spans[order[:-1], 1])).any():
        return records
    rows = [tuple(row.tolist()) for row in np.split(labels.flat, labels.offsets[1:-1])]
    shared = share_classes(paths, list(map(tuple, spans.tolist())), [None if row == (-1,) else row for row in rows])
    kept, arrays = np.array(list(shared)), records.arrays()
    encoded = [arrays["blob"][start:stop] for start, stop in zip(*_bounds(arrays["offsets"], kept), strict=True)]
    return RecordList(
        records.source,
        records.root,
        blob=np.concatenate(encoded),
        offsets=np.concatenate([[0], np.cumsum([len(path) for path in encoded])]).astype(np.int64),
        num_frames=records.num_frames[kept],
        labels=label_sets([(-1,) if row is None else row for row in shared.values()], labels.num_class),
        lines=arrays["lines"][kept],
        spans=spans[kept],
        first=None if records.first is None else records.first[kept],
    )


def _bounds(offsets: np.ndarray, places: np.ndarray) -> tuple[list[int], list[int]]:
    return offsets[places].tolist(), offsets[places + 1].tolist()
