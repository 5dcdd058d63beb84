"""Reads the classes of videos from JSON files: of ActivityNet, Kinetics, Something-Something, Diving48 and mmaction2.

Fields that none of these files has are reported, not interpreted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.lists.json_objects import each_once
from utils.errors import ListError

# name of the video, label ("" if it is not published), start, end, split
Annotation = tuple[str, str, float | None, float | None, str]
_TOP_LEVEL = {"database", "taxonomy", "version"}
_FIELDS = {"annotations", "subset", "duration", "resolution", "url", "label", "segment"}  # ActivityNet, Kinetics
_FIELDS |= {"duration_second", "duration_frame", "feature_frame", "fps", "rfps"}  # ActivityNet by mmaction2
_FIELDS |= {"id", "template", "placeholders"}  # Something-Something
_FIELDS |= {"frame_dir", "filename", "total_frames"}  # mmaction2
_FIELDS |= {"vid_name", "start_frame", "end_frame"}  # Diving48, whose videos are cut at these frames already


def read_json(path: Path) -> tuple[list[Annotation], list[str]]:
    """Reads the videos of a JSON file; also returns the names of its unknown fields.

    Raises ListError, naming the file and the entry, for a file of another form.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=each_once(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ListError(f"{path}: cannot be read as JSON ({error})") from error
    unknown: set[str] = set()
    if isinstance(content, Mapping) and isinstance(content.get("database"), Mapping):
        unknown |= set(content) - _TOP_LEVEL
        content = content["database"]
    entries: list[tuple[str, Any]]
    read: Callable[[str, Any], Iterator[Annotation]] = _timed
    if isinstance(content, Mapping):
        entries = list(content.items())
    elif isinstance(content, list):
        entries, read = [(str(number), entry) for number, entry in enumerate(content)], _listed
    else:
        raise ListError(f"{path}: is neither a list (Something-Something) nor a mapping (ActivityNet, Kinetics)")
    found: list[Annotation] = []
    for key, entry in entries:
        try:
            if not isinstance(entry, Mapping):
                raise ValueError(f"{entry!r} has no fields")
            rows = list(read(key, entry))
            if not all(math.isfinite(seconds) for row in rows for seconds in row[2:4] if seconds is not None):
                raise ValueError("a time is not a finite number")
            found.extend(rows)
            unknown |= {field for part in (entry, *_annotations(entry)) for field in part} - _FIELDS
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ListError(
                f"{path}: entry {key!r} has an unexpected form ({type(error).__name__}: {error})"
            ) from error
    return found, sorted(unknown)


def _timed(key: str, entry: Mapping[str, Any]) -> Iterator[Annotation]:
    """Yields the annotations of an entry `id: {subset, annotations: [{label, segment}]}`.

    Kinetics has one annotation without a list around it, and a video of the test set has none. mmaction2 writes one
    file per subset instead of the field.
    """
    annotations, split = _annotations(entry), str(entry.get("subset", "")).lower()
    if not entry["annotations"]:
        yield key, "", None, None, split
    for annotation in annotations:
        start, end = annotation["segment"]
        yield key, str(annotation.get("label", "")), float(start), float(end), split


def _annotations(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    annotations = entry.get("annotations") or []
    return [annotations] if isinstance(annotations, Mapping) else list(annotations)


def _listed(_: str, entry: Mapping[str, Any]) -> Iterator[Annotation]:
    """Yields the annotation of an entry of a list.

    Something-Something has `{id, template, ...}`, or `{id}` in the test set; its class is the template without the
    brackets, as in its labels.json. mmaction2 has `{frame_dir, label, ...}`, Diving48 `{vid_name, label, ...}`.
    """
    if "vid_name" in entry:
        yield str(entry["vid_name"]), str(entry["label"]), None, None, ""
    elif name := entry.get("frame_dir") or entry.get("filename"):
        if entry.get("offset"):
            raise ValueError(
                f"offset {entry['offset']}: every video must have its own folder, and begin with its first frame"
            )
        label = entry["label"]
        if isinstance(label, list):
            raise ValueError(f"label {label}: a video must have one class")
        yield str(PurePosixPath(name)), "" if label == -1 else str(label), None, None, ""
    elif "id" not in entry:
        raise ValueError(f"none of its fields ({', '.join(map(str, entry))}) is id, frame_dir, filename or vid_name")
    else:
        yield str(entry["id"]), str(entry.get("template", "")).replace("[", "").replace("]", ""), None, None, ""
