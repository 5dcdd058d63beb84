"""Reads and writes ELAN's .eaf: annotations between time slots, in milliseconds, on tiers.

The label of a span is the text of its annotation, or the name of the tier where the text is empty. An annotation that
refers to another one has the times of that one. ELAN allows no overlaps within a tier, so each class is written to a
tier of its own, and to several where its spans overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import count, pairwise
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from datasets.spans.document import Document
from datasets.spans.format import MILLISECONDS, Format, Videos, file_name, one_video
from datasets.spans.reading import Reading, entry, number
from datasets.spans.span import Span, SpanTable, stem
from utils.errors import ListError

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def looks(document: Document) -> bool:
    """Says whether the root is `ANNOTATION_DOCUMENT`."""
    return document.xml is not None and document.xml.tag == "ANNOTATION_DOCUMENT"


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the annotations of all tiers. Raises ListError for times in another unit than milliseconds."""
    root, where = document.xml, f"{document.path}"
    assert root is not None
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise ListError(f"{where}: its times are {units}; save it with a newer ELAN, which writes milliseconds")
    with entry(where):
        media = root.find("HEADER/MEDIA_DESCRIPTOR")
        about = {} if media is None else media.attrib
        name = file_name(unquote(about.get("RELATIVE_MEDIA_URL") or about.get("MEDIA_URL", "")))
        origin = number(about.get("TIME_ORIGIN"), "TIME_ORIGIN", where) or 0.0
        slots = {slot.attrib["TIME_SLOT_ID"]: slot.get("TIME_VALUE") for slot in root.findall("TIME_ORDER/TIME_SLOT")}
        times = _filled(slots, origin, where)
        spans = _spans(root, times, where, reading)
    videos = Videos()
    videos.add(name or stem(document.path.name), spans, where=where)
    return videos.table()


def _filled(slots: Mapping[str, str | None], origin: float, where: str) -> dict[str, float | None]:
    """Returns the seconds of each slot; one without a time lies evenly between its neighbours, as ELAN shows it.

    origin: milliseconds of the video at which the times of the document begin.
    Raises ListError for a time that is no number.
    """
    names = list(slots)
    known = [place for place, name in enumerate(names) if slots[name] is not None]
    times: dict[str, float | None] = dict.fromkeys(names)
    for place in known:
        at = f"{where}: time slot {names[place]}"
        value = number(slots[names[place]], "the time", at)
        if value is None:
            raise ListError(f"{at}: the time is empty; write milliseconds")
        times[names[place]] = (value + origin) / 1000
    for before, after in pairwise(known):
        low, high = times[names[before]], times[names[after]]
        assert low is not None and high is not None
        for place in range(before + 1, after):
            times[names[place]] = low + (high - low) * (place - before) / (after - before)
    return times


def _spans(root: ElementTree.Element, times: Mapping[str, float | None], where: str, reading: Reading) -> list[Span]:
    places: dict[str, tuple[float | None, float | None]] = {}
    later: list[tuple[str, str, ElementTree.Element]] = []
    found: list[Span] = []

    def add(tier: str, annotation: ElementTree.Element, place: tuple[float | None, float | None]) -> None:
        name = annotation.attrib["ANNOTATION_ID"]
        places[name] = place
        label = (annotation.findtext("ANNOTATION_VALUE") or "").strip() or tier
        found.extend(reading.spans(*place, label, f"{where}: tier {tier}, annotation {name}"))

    for tier in root.findall("TIER"):
        for annotation in (one for wrapper in tier.findall("ANNOTATION") for one in wrapper):
            if annotation.tag == "ALIGNABLE_ANNOTATION":
                ends = (times[annotation.attrib["TIME_SLOT_REF1"]], times[annotation.attrib["TIME_SLOT_REF2"]])
                add(tier.attrib["TIER_ID"], annotation, ends)
            else:
                later.append((tier.attrib["TIER_ID"], annotation.attrib["ANNOTATION_REF"], annotation))
    while later:
        ready = [one for one in later if one[1] in places]
        if not ready:
            raise ListError(f"{where}: annotation {later[0][2].get('ANNOTATION_ID')} refers to one that is not there")
        for tier_id, target, annotation in ready:
            add(tier_id, annotation, places[target])
        later = [one for one in later if one[2].attrib["ANNOTATION_ID"] not in places]
    return found


def write(table: SpanTable) -> str:
    """Returns the document of one video, with a tier for each class."""
    (video,) = table.videos
    root = ElementTree.Element("ANNOTATION_DOCUMENT", _document())
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    media = {"MEDIA_URL": quote(video.name), "MIME_TYPE": "video/mp4", "RELATIVE_MEDIA_URL": f"./{quote(video.name)}"}
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", media)
    order = ElementTree.SubElement(root, "TIME_ORDER")
    tiers: dict[str, list[list[Span]]] = defaultdict(list)
    for span in video.spans:
        free = next((lane for lane in tiers[span.label] if lane[-1].end <= span.start), None)
        if free is None:
            tiers[span.label].append([span])
        else:
            free.append(span)
    number = 0
    for name, lane in _named(tiers):
        tier = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for span in lane:
            number += 1
            slots = (f"ts{2 * number - 1}", f"ts{2 * number}")
            for slot, moment in zip(slots, (span.start, span.end), strict=True):
                ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * moment)))
            place = {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": slots[0], "TIME_SLOT_REF2": slots[1]}
            around = ElementTree.SubElement(tier, "ANNOTATION")
            annotation = ElementTree.SubElement(around, "ALIGNABLE_ANNOTATION", place)
            ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = span.label
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kind)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _named(tiers: Mapping[str, list[list[Span]]]) -> list[tuple[str, list[Span]]]:
    """Returns all lanes with names that differ: that of the class, then `class 2`, unless a class is called so."""
    named = []
    taken = set(tiers)
    for label, (first, *more) in tiers.items():
        named.append((label, first))
        for lane in more:
            name = next(name for name in (f"{label} {n}" for n in count(2)) if name not in taken)
            taken.add(name)
            named.append((name, lane))
    return named


def _document() -> dict[str, Any]:
    return {
        "AUTHOR": "",
        "DATE": "1970-01-01T00:00:00+00:00",  # a date that does not change gives the same file for the same spans
        "FORMAT": "3.0",
        "VERSION": "3.0",
        "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        "xsi:noNamespaceSchemaLocation": _SCHEMA,
    }


FORMAT = Format(
    title="ELAN",
    marks="XML with the root `ANNOTATION_DOCUMENT`",
    suffix=".eaf",
    looks=looks,
    read=read,
    write=write,
    holds=frozenset({"empty"}),
    tick=MILLISECONDS,
    name_as=file_name,
    parts=one_video,
)
