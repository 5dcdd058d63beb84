"""Reads FineGym: events from its JSON, elements from its lists of elements; writes events.

The JSON has the events of each video, which are of four kinds, and the times of the elements in them. The lists, such
as gym99_train_element.txt, have a line `VIDEO_E_002407_002435_A_0003_0005 label` for each labelled element; its times
come from finegym_annotation_info*.json in the same folder, where they count from the start of the event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from datasets.spans.document import Document
from datasets.spans.format import Format, Videos
from datasets.spans.reading import Reading, entry, shown
from datasets.spans.span import SpanTable
from utils.errors import ListError, UserError

EVENTS = {1: "vault", 2: "floor exercise", 3: "balance beam", 4: "uneven bars"}
_EVENT = re.compile(r"E_\d+_\d+")
_ELEMENT = re.compile(r"(.+)_(E_\d+_\d+)_(A_\d+_\d+)\s+(\d+)")
_SUBSET = re.compile(r"_(train|val)_")


def looks(document: Document) -> bool:
    """Says whether there are events by the names of FineGym, or lines of elements."""
    if isinstance(content := document.json, Mapping):
        events = [event for video in content.values() if isinstance(video, Mapping) for event in video]
        return bool(events) and all(_EVENT.fullmatch(str(event)) for event in events)
    if document.json is not None or document.header:
        return False
    return bool(document.lines) and _ELEMENT.fullmatch(document.lines[0][1]) is not None


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the events of a JSON, or the elements of a list. Raises ListError for a list without its JSON."""
    videos = Videos()
    if document.json is None:
        _elements(document, reading, videos)
        return videos.table()
    elements = 0
    for name, events in document.json.items():
        videos.add(name, [], where=f"{document.path}: {name}")
        for key, event in events.items():
            where = f"{document.path}: {name} {key}"
            with entry(where):
                ((start, end),) = event["timestamps"]
                videos.add(name, reading.spans(start, end, EVENTS[event["event"]], where), where=where)
                elements += len(event["segments"] or ())
    if elements:
        reading.notes.append(
            f"{document.path}: {elements} elements have no label here; read gym99_train_element.txt or another list of "
            "elements from the same folder for them"
        )
    return videos.table()


def _elements(document: Document, reading: Reading, videos: Videos) -> None:
    found = sorted(document.path.parent.glob("finegym_annotation_info*.json"))
    if not found:
        raise ListError(
            f"{document.path}: has no times; put finegym_annotation_info_v1.1.json, which has, into the same folder"
        )
    times = Document(found[-1])
    subset = match[1] if (match := _SUBSET.search(document.path.name)) else ""
    for where, line in document.lines:
        parts = _ELEMENT.fullmatch(line)
        if parts is None:
            raise ListError(f"{where}: {shown(line)} is not `VIDEO_E_start_end_A_start_end label`")
        name, event, element, label = parts.groups()
        try:
            about = times.json[name][event]
            (zero, _), *_ = about["timestamps"]
            stages = about["segments"][element]["timestamps"]
            start, end = zero + stages[0][0], zero + stages[-1][1]
        except (KeyError, TypeError, ValueError, IndexError):
            raise ListError(f"{where}: {found[-1]} has no times of {name} {event} {element}") from None
        videos.add(name, reading.spans(start, end, label, where), where=where, subset=subset)


def write(table: SpanTable) -> str:
    """Returns events without elements. Raises UserError for other classes than the four events."""
    numbers = {name: number for number, name in EVENTS.items()}
    content: dict[str, dict[str, Any]] = {}
    for video in table.videos:
        events = content[video.name] = {}
        for span in video.spans:
            if span.label not in numbers:
                raise UserError(
                    f"class {span.label!r}: FineGym's JSON names events only ({', '.join(numbers)}); write another "
                    "format"
                )
            key = f"E_{int(span.start):06d}_{int(span.end):06d}"
            if key in events:
                raise UserError(f"{video.name}: FineGym cannot hold two events with the same whole seconds, {key}")
            event = {"event": numbers[span.label], "segments": None, "timestamps": [[span.start, span.end]]}
            events[key] = event
    return json.dumps(content) + "\n"


FORMAT = Format(
    title="FineGym",
    marks="JSON of events such as E_002407_002435, or lines of elements",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"empty"}),
    adds_up=True,
)
