"""How tables of videos call their columns: those of the published data sets and of what people write by hand."""

from __future__ import annotations

from collections.abc import Sequence

IDS = frozenset({"video_id", "youtube_id"})  # the name of a file without folder and suffix
_SEVERAL = {"labels", "classes", "actions"}
KNOWN = {
    "path": {"file", "filename", "file_name", "path", "video", "video_name", "video_path", "name", "clip", *IDS},
    "label": {"label", "class", "class_name", "classname", "label_name", "category", "action", "target", *_SEVERAL},
    "start": {"start", "time_start", "start_time", "t_start"},
    "end": {"end", "time_end", "end_time", "t_end"},
    "split": {"split", "subset", "set"},
}


def find_columns(header: Sequence[str]) -> dict[str, int]:
    """The place of each known column, by the keys of KNOWN; of several that mean the same the first counts."""
    names = [normal_name(cell) for cell in header]
    found: dict[str, int] = {}
    for key, known in KNOWN.items():
        places = [place for place, name in enumerate(names) if name in known]
        if places:
            found[key] = places[0]
    return found


def normal_name(cell: str) -> str:
    """A column's name as KNOWN has it."""
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def cut_name(video: str, start: float, end: float) -> str:
    """What crawlers of Kinetics call the file that holds only these seconds of a video."""
    return f"{video}_{round(start):06d}_{round(end):06d}"
