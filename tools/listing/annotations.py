"""Reads the classes of videos from JSON files: of ActivityNet, Kinetics, Something-Something, Diving48 and mmaction2.

Fields that none of these files has are reported, not interpreted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.spans.document import Document
from datasets.spans.formats.activitynet import annotations_of, videos_of
from datasets.spans.reading import Reading, both, entry
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
    content = Document(path).json
    unknown = set(content) - _TOP_LEVEL if isinstance(content, Mapping) and "database" in content else set()
    videos = videos_of(content)
    entries: Iterable[tuple[str, Any]]
    read: Callable[[str, Any], Iterator[Annotation]] = _timed
    if isinstance(content, list):
        entries, read = [(str(number), about) for number, about in enumerate(content)], _listed
    elif videos is not None:
        entries = videos.items()
    else:
        raise ListError(
            f"{path}: is neither a list (Something-Something) nor a mapping of videos to their annotations "
            "(ActivityNet, Kinetics)"
        )
    found: list[Annotation] = []
    for key, about in entries:
        with entry(f"{path}: entry {key!r}"):
            if not isinstance(about, Mapping):
                raise ValueError(f"{about!r} has no fields")
            found.extend(read(key, about))
            unknown |= {field for part in (about, *annotations_of(about)) for field in part} - _FIELDS
    return found, sorted(unknown)


def _timed(key: str, about: Mapping[str, Any]) -> Iterator[Annotation]:
    """Yields the annotations of an entry `id: {subset, annotations: [{label, segment}]}`.

    A video of a test set has none, or one without a class. mmaction2 writes one file per subset instead of the field.
    """
    annotations, split = annotations_of(about), str(about.get("subset", "")).lower()
    if not annotations:
        yield key, "", None, None, split
    for annotation in annotations:
        reading = Reading()
        if (times := reading.times(*both(annotation["segment"]), f"segment {annotation['segment']}")) is None:
            raise ValueError(reading.faults[0].message)
        yield key, str(annotation.get("label", "")), *times, split


def _listed(_: str, about: Mapping[str, Any]) -> Iterator[Annotation]:
    """Yields the annotation of an entry of a list.

    Something-Something has `{id, template, ...}`, or `{id}` in the test set; its class is the template without the
    brackets, as in its labels.json. mmaction2 has `{frame_dir, label, ...}`, Diving48 `{vid_name, label, ...}`.
    """
    if "vid_name" in about:
        yield str(about["vid_name"]), str(about["label"]), None, None, ""
    elif name := about.get("frame_dir") or about.get("filename"):
        if about.get("offset"):
            raise ValueError(
                f"offset {about['offset']}: every video must have its own folder, and begin with its first frame"
            )
        label = about["label"]
        if isinstance(label, list):
            raise ValueError(f"label {label}: a video must have one class")
        yield str(PurePosixPath(name)), "" if label == -1 else str(label), None, None, ""
    elif "id" not in about:
        raise ValueError(f"none of its fields ({', '.join(map(str, about))}) is id, frame_dir, filename or vid_name")
    else:
        yield str(about["id"]), str(about.get("template", "")).replace("[", "").replace("]", ""), None, None, ""
