"""Lists the formats of label files. A new one is a file here and a line in FORMATS; tests loop over the table."""

from __future__ import annotations

from datasets.spans.document import Document
from datasets.spans.format import Format
from datasets.spans.formats import (
    activitynet,
    charades,
    cvat,
    elan,
    epic_kitchens,
    fiftyone,
    finegym,
    hacs_clips,
    label_studio,
    subtitles,
    table,
    thumos,
    via,
)
from utils.errors import ListError

FORMATS: dict[str, Format] = {
    "csv": table.FORMAT,
    "label_studio": label_studio.FORMAT,
    "cvat": cvat.FORMAT,
    "elan": elan.FORMAT,
    "fiftyone": fiftyone.FORMAT,
    "via": via.FORMAT,
    "activitynet": activitynet.FORMAT,
    "hacs_clips": hacs_clips.FORMAT,
    "thumos14": thumos.THUMOS14,
    "multithumos": thumos.MULTITHUMOS,
    "charades": charades.FORMAT,
    "epic_kitchens": epic_kitchens.FORMAT,
    "finegym": finegym.FORMAT,
    "srt": subtitles.SRT,
    "vtt": subtitles.VTT,
}


def find_format(document: Document) -> str:
    """Returns the name of the format that a document has. Raises ListError if it has no known one, or several."""
    found = [name for name, form in FORMATS.items() if form.looks(document)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ListError(f"{document.path}: may be {' or '.join(found)}; say which with --from")
    looked = "; ".join(f"{name} ({form.marks})" for name, form in FORMATS.items())
    raise ListError(f"{document.path}: has no known format; looked for {looked}")
