"""What can be wrong with lists of encoded videos: files that are not there or no videos, seconds past their end."""

from __future__ import annotations

from pathlib import Path

from datasets.records import RecordList
from datasets.video_lists import read_videos
from datasets.video_segments import SegmentIndex
from tools._doctor import Fault


def check_encoded(sources: dict[str, Path], root: Path | None, *, classes: Path | None) -> tuple[int, list[Fault]]:
    """How many records there are, and their faults. Packets are scanned, nothing is decoded.

    root: put before every path; by default the folder above the lists.
    """
    count, faults = 0, []
    for split, source in sources.items():
        below = root or source.resolve().parent.parent
        records, _ = read_videos(source, root=below, class_names=classes, unlabelled=split != "train")
        count += len(records)
        faults += list(_faults(records, split))
    return count, faults


def _faults(records: RecordList, split: str) -> list[Fault]:
    index = SegmentIndex(records)
    return [
        Fault("video", f"{records.where(record)}: {why}", split, path=records.path(record))
        for record, why in sorted(index.errors.items())
    ]
