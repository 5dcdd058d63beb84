"""Reads and writes subtitles, SRT and WebVTT: one file per video, whose text is the class of each span."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from datasets.spans.document import Document
from datasets.spans.format import MILLISECONDS, Format, Videos, clock, one_video
from datasets.spans.reading import Reading
from datasets.spans.span import SpanTable, stem
from utils.errors import ListError, UserError

_TAG = re.compile(r"<[^>]*>")  # WebVTT: <v Anna>, <b>, <00:00:01.500>
_CUE = re.compile(r"(\S+)\s+-->\s+(\S+)(\s+\S.*)?")


def _is_vtt(document: Document) -> bool:
    return document.text.startswith("WEBVTT")


def _is_srt(document: Document) -> bool:
    return not _is_vtt(document) and any(_CUE.fullmatch(line) for _, line in document.lines[:2])


def read(document: Document, reading: Reading) -> SpanTable:
    """Reads the cues; the video has the name of the file. Raises ListError for a cue of no or several lines."""
    videos = Videos()
    name = stem(document.path.stem)
    videos.add(name, [], where=f"{document.path}")
    blocks: list[list[tuple[str, str]]] = [[]]
    for number, line in enumerate(document.text.splitlines(), 1):
        if line.strip():
            blocks[-1].append((f"{document.path}:{number}", line.strip()))
        elif blocks[-1]:
            blocks.append([])
    for block in blocks:
        at = next((place for place, (_, line) in enumerate(block) if _CUE.fullmatch(line)), None)
        if at is None:
            if block and not block[0][1].startswith(("WEBVTT", "NOTE", "STYLE", "REGION")):
                raise ListError(f"{block[0][0]}: expected a cue such as 00:00:01.000 --> 00:00:02.500")
            continue
        where, line = block[at]
        if len(block) != at + 2:
            raise ListError(
                f"{where}: a cue must have one line of text, the name of a class; this has {len(block) - at - 1}"
            )
        cue = _CUE.fullmatch(line)
        assert cue is not None
        start, end = (cue[part].replace(",", ".") for part in (1, 2))  # SRT writes a comma, WebVTT a point
        text = block[at + 1][1]
        label = html.unescape(_TAG.sub("", text)) if _is_vtt(document) else text
        videos.add(name, reading.spans(start, end, label, where), where=where)
    return videos.table()


def _write_srt(table: SpanTable) -> str:
    """Returns numbered cues. Raises UserError for a class with an arrow in its name."""
    if label := next((span.label for span in table.spans if "-->" in span.label), None):
        raise UserError(f"class {label!r}: SRT cannot hold an arrow; rename the class")
    cues = [(clock(span.start, mark=","), clock(span.end, mark=","), span.label) for span in table.spans]
    return "".join(f"{number}\n{start} --> {end}\n{label}\n\n" for number, (start, end, label) in enumerate(cues, 1))


def _write_vtt(table: SpanTable) -> str:
    """Returns a WebVTT file, in which < and & are escaped."""
    cues = [(clock(span.start), clock(span.end), html.escape(span.label, quote=False)) for span in table.spans]
    return "WEBVTT\n\n" + "".join(f"{start} --> {end}\n{label}\n\n" for start, end, label in cues)


SRT = Format(
    title="SRT",
    marks="text with cues 00:00:01,000 --> 00:00:02,500",
    suffix=".srt",
    looks=_is_srt,
    read=read,
    write=_write_srt,
    holds=frozenset(),
    tick=MILLISECONDS,
    name_as=stem,
    parts=one_video,
    named=True,
)
VTT = replace(
    SRT,
    title="WebVTT",
    marks="text that begins with WEBVTT",
    suffix=".vtt",
    looks=_is_vtt,
    write=_write_vtt,
    holds=frozenset({"empty"}),
)
