"""Reads and writes the JSON of ActivityNet, of its predictions, and of HACS Segments, which has the same form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos
from datasets.spans.reading import Reading, both, count, entry, positive
from datasets.spans.span import LabeledVideo, SpanTable

_VERSION = "VERSION 1.3"


def looks(document: Document) -> bool:
    """Says whether there is a database of videos, or results."""
    content = document.json
    parts = [content.get(key) for key in ("database", "results")] if isinstance(content, Mapping) else []
    return any(isinstance(part, Mapping) for part in parts)


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the annotations of a database, or the scored segments of results."""
    content, videos = document.json, Videos()
    truth = isinstance(content.get("database"), Mapping)
    for name, about in content["database" if truth else "results"].items():
        where = f"{document.path}: {name}"
        with entry(where):
            found = about.get("annotations") or [] if truth else about
            known = about if truth else {}
            spans = [
                span
                for one in ([found] if isinstance(found, Mapping) else found)
                for span in reading.spans(*both(one["segment"]), one["label"], where, one.get("score"))
            ]
            seconds = known.get("duration", known.get("duration_second"))
            fps = positive(known.get("fps"), "fps", where)
            frames = count(known.get("num_frames", known.get("duration_frame")), "number of frames", where)
            about_it = {"duration": positive(seconds, "duration", where), "fps": fps, "num_frames": frames}
            videos.add(name, spans, where=where, subset=str(known.get("subset") or ""), **about_it)
    return videos.table()


def write(table: SpanTable) -> str:
    """Returns a database, or results if every span has a score."""
    spans = list(table.spans)
    if spans and all(span.score is not None for span in spans) and not any(map(_described, table.videos)):
        results = {
            video.name: [
                {"label": span.label, "score": span.score, "segment": [span.start, span.end]} for span in video.spans
            ]
            for video in table.videos
        }
        return json.dumps({"version": _VERSION, "results": results, "external_data": {}}, indent=1) + "\n"
    database = {video.name: _entry(video) for video in table.videos}
    return json.dumps({"version": _VERSION, "database": database, "taxonomy": []}, indent=1) + "\n"


def _described(video: LabeledVideo) -> bool:
    return bool(video.subset or video.duration or video.fps or video.num_frames)


def _entry(video: LabeledVideo) -> dict[str, Any]:
    annotations = [
        {"label": span.label, "segment": [span.start, span.end]} | ({} if span.score is None else {"score": span.score})
        for span in video.spans
    ]
    known = {key: value for key in ("duration", "fps", "num_frames", "subset") if (value := getattr(video, key))}
    return known | {"annotations": annotations}


FORMAT = Format(
    title="ActivityNet",
    marks="JSON with database or results (ActivityNet, HACS Segments)",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"score", "subset", "duration", "fps", "num_frames", "empty"}),
)
