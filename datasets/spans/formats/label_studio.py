"""Reads and writes Label Studio's JSON: timeline labels of videos in frames, and labels of sound in seconds.

A range of frames counts from 1 and includes its last frame. Label Studio's player counts time in steps of 1 / fps, also
in videos whose frames come at other times, so frames are read and written by that rate.
Tasks with predictions and without annotations give these, with their scores; scored spans are written as predictions,
which Label Studio shows for correction.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from datasets.spans.document import Document
from datasets.spans.format import FRAMES, Format, Videos, whole_frames
from datasets.spans.frame_clock import FrameClock
from datasets.spans.reading import Reading, count, entry, positive
from datasets.spans.span import LabeledVideo, Span, SpanTable
from utils.errors import ListError

_ABOUT = ("fps", "duration", "num_frames", "subset")
_UPLOAD = re.compile(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)")


def looks(document: Document) -> bool:
    """Says whether this is a list of tasks, in the full or in the short form."""
    tasks = document.json
    return isinstance(tasks, list) and bool(tasks) and all(map(_is_task, tasks))


def _is_task(task: Any) -> bool:
    if not isinstance(task, Mapping):
        return False
    full = isinstance(task.get("data"), Mapping) and ("annotations" in task or "predictions" in task)
    return full or any(True for _ in _short(task))


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads all tasks. Raises ListError for a task with several annotations, of which no one is the ground truth."""
    videos = Videos()
    tasks = []
    other: Counter[str] = Counter()
    for place, task in enumerate(document.json):
        where = f"{document.path}: task {task.get('id', place + 1)}"
        with entry(where):
            name = _video(task.get("data", task), where)
            tasks.append((where, name, task.get("data", {}), list(_results(task, where, other))))
    for kind, number in other.items():
        reading.notes.append(f"{document.path}: {number} results of type {kind} have no times and are not read")
    reading.clocks.look_at(name for _, name, _, _ in tasks)
    for where, name, data, results in tasks:
        with entry(where):
            values = [result.get("value", {}) for result in results]
            seen: Mapping[str, Any] = next(
                (value for value in values if value.get("framesCount") and value.get("duration")), {}
            )
            about: dict[str, Any] = {
                "duration": positive(data.get("duration", seen.get("duration")), "duration", where),
                "num_frames": count(data.get("num_frames", seen.get("framesCount")), "num_frames", where),
                "fps": positive(data.get("fps"), "fps", where),
                "subset": str(data.get("subset") or ""),
            }
            if seen and not about["fps"]:
                about["fps"] = float(seen["framesCount"]) / float(seen["duration"])
            spans = [span for result in results for span in _spans(result, name, about["fps"], where, reading)]
            videos.add(name, spans, where=where, **about)
    return videos.table()


def _results(task: Mapping[str, Any], where: str, other: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """Yields the results with times, of the annotation or else of the newest predictions; `other` counts the rest."""
    if "data" not in task:
        yield from _short(task)
        return
    done = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    if len(done) > 1:
        done = [one for one in done if one.get("ground_truth")]
        if len(done) != 1:
            raise ListError(
                f"{where}: has {len(task['annotations'])} annotations; mark one of them as ground truth, or delete the "
                "others, as they may disagree"
            )
    if not done:
        done = (task.get("predictions") or [])[-1:]
    for one in done:
        for result in one["result"]:
            kind = result.get("type")
            if kind in ("timelinelabels", "videorectangle") or (kind == "labels" and "text" not in result["value"]):
                yield result
            else:
                other[str(kind)] += 1


def _short(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the results of a task of the short form (JSON-MIN), in which each control has a list of values."""
    for values in task.values():
        if isinstance(values, list):
            for value in values:
                if isinstance(value, Mapping) and "timelinelabels" in value:
                    yield {"type": "timelinelabels", "value": value}


def _spans(result: Mapping[str, Any], name: str, fps: float | None, where: str, reading: Reading) -> Iterator[Span]:
    value, score = result["value"], result.get("score")
    where = f"{where}, region {result['id']}" if "id" in result else where
    if result["type"] == "timelinelabels":
        steady = FrameClock(reading.clock(name, where, fps).fps)
        for part in value["ranges"]:
            for label in value.get("timelinelabels") or [None]:  # a region without a label is refused
                yield from reading.frames(part.get("start"), part.get("end"), label, where, steady, score, base=1)
    elif result["type"] == "labels":
        for label in value.get("labels") or [None]:
            yield from reading.spans(value["start"], value["end"], label, where, score)


def _video(data: Mapping[str, Any], where: str) -> str:
    """Returns the name of a task's video, without what uploading puts in front of it."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    text = texts.get("video") or next((value for key, value in texts.items() if "video" in key.lower()), "")
    if not text:
        raise ListError(f"{where}: its data has no `video`; found {', '.join(data) or 'nothing'}")
    if "?d=" in text:  # files that the server finds on its own disk
        return unquote(text.partition("?d=")[2])
    if match := _UPLOAD.fullmatch(text):
        return unquote(match[1])
    return unquote(urlsplit(text).path).lstrip("/") if "://" in text else text


def write(table: SpanTable) -> str:
    """Returns tasks for import, one per video."""
    return json.dumps([_task(number, video) for number, video in enumerate(table.videos, 1)], indent=1) + "\n"


def _task(number: int, video: LabeledVideo) -> dict[str, Any]:
    data = {"video": video.name} | {key: value for key in _ABOUT if (value := getattr(video, key))}
    results = [
        {
            "id": f"{number}-{place}",
            "type": "timelinelabels",
            "from_name": "label",
            "to_name": "video",
            "value": {"ranges": [{"start": first + 1, "end": after}], "timelinelabels": [span.label]},
        }
        | ({} if span.score is None else {"score": span.score})
        for place, (span, first, after) in enumerate(whole_frames(video, FORMAT))
    ]
    kind = "predictions" if any(span.score is not None for span in video.spans) else "annotations"
    return {"id": number, "data": data, kind: [{"result": results}]}


FORMAT = Format(
    title="Label Studio",
    marks="JSON, a list of tasks with data and annotations",
    suffix=".json",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"score", "subset", "duration", "fps", "num_frames", "empty"}),
    tick=FRAMES,
    steady=True,
)
