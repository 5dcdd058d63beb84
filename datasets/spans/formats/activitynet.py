"""Reads and writes the JSON of ActivityNet, of its predictions, and of HACS Segments, which has the same form.

Kinetics and mmaction2 have the entries of the videos without a database around them.
"""

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
    """Says whether there are entries of videos, or results."""
    content = document.json
    return videos_of(content) is not None or (
        isinstance(content, Mapping) and isinstance(content.get("results"), Mapping)
    )


def videos_of(content: Any) -> Mapping[str, Any] | None:
    """Returns the entries of the videos by their names; None if the content has none."""
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("database"), Mapping):
        found: Mapping[str, Any] = content["database"]
        return found
    entries = content.values()
    return content if entries and all(isinstance(one, Mapping) and "annotations" in one for one in entries) else None


def annotations_of(about: Mapping[str, Any]) -> list[Any]:
    """Returns the annotations of a video: a list, one without a list around it, or none."""
    found = about.get("annotations") or []
    return [found] if isinstance(found, Mapping) else list(found)


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the annotations of videos, or the scored segments of results."""
    content, videos = document.json, Videos()
    entries = videos_of(content)
    for name, about in (content["results"] if entries is None else entries).items():
        where = f"{document.path}: {name}"
        with entry(where):
            found = about if entries is None else annotations_of(about)
            known = {} if entries is None else about
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
    marks="JSON with database, results, or annotations of each video (ActivityNet, HACS Segments)",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"score", "subset", "duration", "fps", "num_frames", "empty"}),
)
