"""Reads who is of which class from JSON as its authors publish it: ActivityNet, Kinetics, Something-Something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from utils.errors import ListError

# name, label, start, end, split
Annotation = tuple[str, str, float | None, float | None, str]


def read_json(path: Path) -> list[Annotation]:
    """The annotated videos of a JSON file; videos without an annotation (test sets) are left out.

    Raises ListError, naming the file and the entry, for a file of another shape.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ListError(f"{path}: cannot be read as JSON ({error})") from error
    if isinstance(content, Mapping) and isinstance(content.get("database"), Mapping):
        content = content["database"]
    entries: list[tuple[str, Any]]
    read: Callable[[str, Any], Iterator[Annotation]] = _timed
    if isinstance(content, Mapping):
        entries = list(content.items())
    elif isinstance(content, list):
        entries, read = [(str(number), entry) for number, entry in enumerate(content)], _something_something
    else:
        raise ListError(f"{path}: neither a list (Something-Something) nor a mapping (ActivityNet, Kinetics)")
    found: list[Annotation] = []
    for key, entry in entries:
        try:
            found.extend(read(key, entry))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ListError(f"{path}: entry {key!r} is not as expected ({type(error).__name__}: {error})") from error
    return found


def _timed(key: str, entry: Mapping[str, Any]) -> Iterator[Annotation]:
    """`id: {subset, annotations: [{label, segment}]}`; Kinetics has one annotation and no list around it."""
    annotations = entry["annotations"]
    for annotation in [annotations] if isinstance(annotations, Mapping) else annotations:
        start, end = annotation["segment"]
        yield key, str(annotation["label"]), float(start), float(end), str(entry["subset"]).lower()


def _something_something(_: str, entry: Mapping[str, Any]) -> Iterator[Annotation]:
    """`{id, template, ...}`; the class is the template without its brackets, as in their labels.json."""
    if "template" in entry:
        yield str(entry["id"]), entry["template"].replace("[", "").replace("]", ""), None, None, ""
    else:
        str(entry["id"])  # of the test set
