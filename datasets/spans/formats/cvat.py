"""Reads and writes CVAT's XML: the tracks of a video, or the tags of its frames (CVAT for images).

A span is the time for which an object of a track is visible; its label is that of the track. Frames count from 0, and
the box with outside="1" is on the first frame after the span. Neighbouring frames with the same tag are one span.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

from datasets.spans.document import Document
from datasets.spans.format import FRAMES, Format, Videos, one_video, whole_frames
from datasets.spans.frame_clock import FrameClock
from datasets.spans.reading import Reading, count, entry, frame_number
from datasets.spans.span import SpanTable, stem
from utils.errors import ListError

_META = ("meta/task", "meta/job", "meta/project")


def looks(document: Document) -> bool:
    """Says whether the root is `annotations`."""
    return document.xml is not None and document.xml.tag == "annotations"


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the file of one task. Raises ListError for one of a project with several videos."""
    root, where = document.xml, f"{document.path}"
    assert root is not None
    with entry(where):
        if len(root.findall("meta/project/tasks/task")) > 1:
            raise ListError(f"{where}: is the export of a project with several videos; export each task by itself")
        name = _text(root, "source") or root.findtext("meta/source") or stem(document.path.name)
        size, step = count(_text(root, "size"), "size", where), _step(root, where)
        begin = frame_number(_text(root, "start_frame") or 0, f"{where}: start_frame")
        frames = _tracks(root, begin + (size or 0) * step, step, where) + _tags(root, step, where)
        clock = reading.clock(name, where) if frames else FrameClock(1.0)
        spans = [span for first, after, label, at in frames for span in reading.frames(first, after, label, at, clock)]
        classes = [label.findtext("name", "") for meta in _META for label in root.findall(f"{meta}/labels/label")]
    videos = Videos()
    videos.add(name, spans, where=where, num_frames=size if (begin, step) == (0, 1) else None)
    return videos.table([label for label in classes if label])


_Frames = list[tuple[int, int, str, str]]  # the first frame, the first one after it, the label, where it stands


def _tracks(root: ElementTree.Element, end: int, step: int, where: str) -> _Frames:
    found: _Frames = []
    for track in root.findall("track"):
        at = f"{where}: track {track.get('id')}"
        boxes = [shape for shape in track if "frame" in shape.attrib]
        shapes = [(frame_number(box.attrib["frame"], at), box.get("outside") == "1") for box in boxes]
        for (before, _), (frame, _) in pairwise(shapes):
            if frame < before:
                raise ListError(f"{at}: its box of frame {frame} comes after that of frame {before}; put them in order")
        shapes.sort()
        first = None
        for frame, outside in shapes:
            if first is None and not outside:
                first = frame
            elif first is not None and outside:
                found.append((first, frame, track.get("label", ""), at))
                first = None
        if first is not None:  # visible to the end: of the video, or of what was labelled of it
            found.append((first, max(shapes[-1][0] + step, end), track.get("label", ""), at))
    return found


def _tags(root: ElementTree.Element, step: int, where: str) -> _Frames:
    frames: dict[str, list[int]] = defaultdict(list)
    for image in root.findall("image"):
        for tag in image.findall("tag"):
            label = tag.get("label", "")
            frames[label].append(frame_number(image.attrib["id"], f"{where}: tag {label}, image"))
    return [(*run, label, f"{where}: tag {label}") for label, there in frames.items() for run in _runs(there, step)]


def _runs(frames: list[int], step: int) -> Iterator[tuple[int, int]]:
    """Yields the first frame of each run of neighbours, and the first one after it."""
    frames = sorted(set(frames))
    first = 0
    for place, frame in enumerate(frames):
        if place + 1 == len(frames) or frames[place + 1] != frame + step:
            yield frames[first], frame + step
            first = place + 1


def _step(root: ElementTree.Element, where: str) -> int:
    text = _text(root, "frame_filter").replace(" ", "")
    return count(text.partition("step=")[2], "frame_filter", where) or 1 if "step=" in text else 1


def _text(root: ElementTree.Element, name: str) -> str:
    return next((text for meta in _META if (text := root.findtext(f"{meta}/{name}"))), "").strip()


def write(table: SpanTable) -> str:
    """Returns the annotations of one video: a track with a small box in the corner for each span."""
    (video,) = table.videos
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for key, value in (("name", stem(video.name)), ("size", video.num_frames), ("mode", "interpolation")):
        if value is not None:
            ElementTree.SubElement(task, key).text = str(value)
    labels = ElementTree.SubElement(task, "labels")
    for name in table.classes:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    ElementTree.SubElement(task, "source").text = video.name
    for number, (span, first, after) in enumerate(whole_frames(video, FORMAT)):
        track = ElementTree.SubElement(root, "track", id=str(number), label=span.label, source="manual")
        for frame, outside in ((first, "0"), (after, "1")):
            corner = {"xtl": "0.00", "ytl": "0.00", "xbr": "16.00", "ybr": "16.00", "z_order": "0"}
            about = {"frame": str(frame), "outside": outside, "occluded": "0", "keyframe": "1"}
            ElementTree.SubElement(track, "box", about | corner)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


FORMAT = Format(
    title="CVAT",
    marks="XML with the root `annotations`",
    suffix=".xml",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"num_frames", "empty", "classes"}),
    tick=FRAMES,
    parts=one_video,
)
