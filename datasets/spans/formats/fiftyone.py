"""Reads and writes FiftyOne's temporal detections: a labels.json of its own format, and the samples.json of a data set.

A support [first, last] is frames that count from 1, the last one included. `timestamps` are seconds; they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos
from datasets.spans.reading import Reading, both, count, entry, positive
from datasets.spans.span import Span, SpanTable, without_suffix
from utils.errors import ListError, UserError


def looks(document: Document) -> bool:
    """Says whether there are labels by the name of a video, with supports or timestamps, or samples of videos."""
    content = document.json
    if not isinstance(content, Mapping):
        return False
    if isinstance(content.get("samples"), list):
        return True
    labels = content.get("labels")
    return isinstance(labels, Mapping) and all(one is None or isinstance(one, list) for one in labels.values())


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the detections of all videos."""
    content, videos = document.json, Videos()
    if "samples" in content:
        _samples(document, reading, videos)
        return videos.table()
    classes = [str(name) for name in content.get("classes") or []]
    reading.clocks.look_at(content["labels"])
    for name, detections in content["labels"].items():
        where = f"{document.path}: {name}"
        with entry(where):
            spans = [span for one in detections or [] for span in _spans(one, name, None, where, reading, classes)]
            videos.add(name, spans, where=where)
    return videos.table(classes)


def _samples(document: Document, reading: Reading, videos: Videos) -> None:
    samples = document.json["samples"]
    with entry(f"{document.path}: samples"):
        reading.clocks.look_at(sample["filepath"] for sample in samples)
    for number, sample in enumerate(samples, 1):
        where = f"{document.path}: sample {number}"
        with entry(where):
            name, metadata = str(sample["filepath"]), sample.get("metadata") or {}
            about = {
                "fps": positive(metadata.get("frame_rate"), "frame_rate", where),
                "duration": positive(metadata.get("duration"), "duration", where),
                "num_frames": count(metadata.get("total_frame_count"), "total_frame_count", where),
            }
            fields = [value for value in sample.values() if isinstance(value, Mapping)]
            lists = [field["detections"] for field in fields if field.get("_cls") == "TemporalDetections"]
            single = [field for field in fields if field.get("_cls") == "TemporalDetection"]
            detections = [one for found in (*lists, single) for one in found]
            spans = [span for one in detections for span in _spans(one, name, about["fps"], where, reading, [])]
            videos.add(name, spans, where=where, **about)


def _spans(
    one: Mapping[str, Any], name: str, fps: float | None, where: str, reading: Reading, classes: list[str]
) -> Iterator[Span]:
    label, score = one["label"], one.get("confidence")
    if isinstance(label, int) and classes:  # targets may be numbers into the classes
        if not 0 <= label < len(classes):
            raise ListError(f"{where}: label {label} is beyond the {len(classes)} classes")
        label = classes[label]
    if "timestamps" in one:
        start, end = both(one["timestamps"])
        yield from reading.spans(start, end, label, where, score)
    else:
        first, last = both(one["support"])
        yield from reading.frames(first, last, label, where, reading.clock(name, where, fps), score, base=1)


def write(table: SpanTable) -> str:
    """Returns a labels.json, whose videos are named without suffix, as FiftyOne looks for them in data/.

    Raises UserError for two videos of which only the suffixes differ.
    """
    labels: dict[str, list[dict[str, Any]]] = {}
    for video in table.videos:
        name = without_suffix(video.name)
        if name in labels:
            raise UserError(f"{video.name}: FiftyOne would call two videos {name}; rename one of them")
        labels[name] = [
            {"label": span.label, "timestamps": [span.start, span.end]}
            | ({} if span.score is None else {"confidence": span.score})
            for span in video.spans
        ]
    return json.dumps({"classes": list(table.classes), "labels": labels}, indent=1) + "\n"


FORMAT = Format(
    title="FiftyOne",
    marks="JSON with labels or samples of temporal detections",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"score", "empty", "classes"}),
    name_as=without_suffix,
)
