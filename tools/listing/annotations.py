"""Reads who is of which class from JSON files: those of ActivityNet, Kinetics, Something-Something and mmaction2.

A field that none of these has is named, not guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from utils.errors import ListError

# name, label ("" if it is not published), start, end, split
Annotation = tuple[str, str, float | None, float | None, str]
_BESIDE_DATABASE = {"database", "taxonomy", "version"}
_FIELDS = {"annotations", "subset", "duration", "resolution", "url", "label", "segment"}  # ActivityNet, Kinetics
_FIELDS |= {"duration_second", "duration_frame", "feature_frame", "fps", "rfps"}  # ActivityNet by mmaction2
_FIELDS |= {"id", "template", "placeholders"}  # Something-Something
_FIELDS |= {"frame_dir", "filename", "total_frames"}  # mmaction2


def read_json(path: Path) -> tuple[list[Annotation], list[str]]:
    """The videos of a JSON file, and the fields in it that are not known here.

    Raises ListError, naming the file and the entry, for a file of another shape.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ListError(f"{path}: cannot be read as JSON ({error})") from error
    unknown: set[str] = set()
    if isinstance(content, Mapping) and isinstance(content.get("database"), Mapping):
        unknown |= set(content) - _BESIDE_DATABASE
        content = content["database"]
    entries: list[tuple[str, Any]]
    read: Callable[[str, Any], Iterator[Annotation]] = _timed
    if isinstance(content, Mapping):
        entries = list(content.items())
    elif isinstance(content, list):
        entries, read = [(str(number), entry) for number, entry in enumerate(content)], _listed
    else:
        raise ListError(f"{path}: neither a list (Something-Something) nor a mapping (ActivityNet, Kinetics)")
    found: list[Annotation] = []
    for key, entry in entries:
        try:
            if not isinstance(entry, Mapping):
                raise ValueError(f"{entry!r} has no fields")
            found.extend(read(key, entry))
            unknown |= {field for part in (entry, *_annotations(entry)) for field in part} - _FIELDS
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ListError(f"{path}: entry {key!r} is not as expected ({type(error).__name__}: {error})") from error
    return found, sorted(unknown)


def _timed(key: str, entry: Mapping[str, Any]) -> Iterator[Annotation]:
    """`id: {subset, annotations: [{label, segment}]}`; Kinetics has one annotation and no list around it.

    A video of the test set has none. mmaction2 writes a file per subset instead of naming it.
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
    """Something-Something: `{id, template, ...}`, or `{id}` in the test set; mmaction2: `{frame_dir, label, ...}`.

    The class of Something-Something is the template without its brackets, as in their labels.json.
    """
    if name := entry.get("frame_dir") or entry.get("filename"):
        if entry.get("offset"):
            raise ValueError(f"offset {entry['offset']}: a video is a folder of its own, counted from its first frame")
        label = entry["label"]
        if isinstance(label, list):
            raise ValueError(f"label {label}: a video has one class")
        yield str(PurePosixPath(name)), "" if label == -1 else str(label), None, None, ""
    else:
        yield str(entry["id"]), str(entry.get("template", "")).replace("[", "").replace("]", ""), None, None, ""
