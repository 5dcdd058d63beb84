"""Matches the class names of labels forgivingly: case, spaces, underscores, hyphens and forms of Unicode may differ."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from datasets.lists.class_names import Classes
from datasets.lists.columns import is_number, label_base
from datasets.spans.reading import Fault
from datasets.spans.span import SpanTable, counted, in_order

_SEPARATORS = re.compile(r"((?:^|(?<=\d))[\s_\-]+(?=\d))|[\s_\-]+")
_CODE = re.compile(r"[a-z]\d+")  # Charades: `c092 Taking a bottle of water` is called c092


def folded(name: str) -> str:
    """Returns what two spellings of one class have in common.

    Between two digits a separator counts, as `1 12` is not `11 2`; so does a sign in front, as -1 is not 1.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return _SEPARATORS.sub(lambda found: "_" if found[1] else "", text)


def one_spelling(table: SpanTable) -> tuple[SpanTable, list[str]]:
    """Gives classes that differ only in their spelling the one that is used most; says each change once."""
    counts = Counter(span.label for span in table.spans)
    groups: dict[str, list[str]] = {}
    for name in table.classes:
        groups.setdefault(folded(name), []).append(name)
    chosen = {name: max(group, key=lambda one: counts[one]) for group in groups.values() for name in group}
    notes = [
        f"class {name!r} ({counted(counts[name], 'span')}) is taken as {target!r} ({counted(counts[target], 'span')})"
        for name, target in chosen.items()
        if name != target
    ]
    return _renamed(table, chosen.__getitem__, tuple(dict.fromkeys(map(chosen.__getitem__, table.classes)))), notes


class Spellings:
    """Knows the classes of a class file by all their spellings, and those of Charades by their codes."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known: dict[str, list[str]] = {}
        for name in names:
            self._known.setdefault(folded(name), []).append(name)
            if _CODE.fullmatch(code := name.split()[0]):
                self._known.setdefault(folded(code), []).append(name)

    def find(self, label: str) -> list[str]:
        """Returns the classes that a label may mean: one, none, or several that differ only in their spelling."""
        return self._known.get(folded(label), [])

    def hint(self, label: str) -> str:
        """Returns which class may be meant by a label that means no single one, for messages; "" if none is near."""
        near = self.find(label) or difflib.get_close_matches(label, self._names, n=1)
        return f"; perhaps {' or '.join(map(repr, near))} is meant" if near else ""


def match_classes(table: SpanTable, classes: Classes) -> tuple[SpanTable, list[str], list[Fault]]:
    """Gives labels the names of a class file; returns what changed, each once, and a fault for each unknown class.

    Labels that are numbers count the lines of the class file, as in lists.
    """
    known = set(classes.names)
    spellings = Spellings(classes.names)
    used = {span.label: span.where for span in table.spans if span.label not in known}
    targets: dict[str, str] = {}
    if used and all(map(is_number, used)):
        base = label_base({int(label) for label in used}, len(classes.names), classes.first)
        places = {label: int(label) - base for label in used}
        targets = {label: classes.names[at] for label, at in places.items() if 0 <= at < len(classes.names)}
    faults = []
    for label in sorted(used.keys() - targets.keys()):
        if len(found := spellings.find(label)) == 1:
            targets[label] = found[0]
        else:
            faults.append(Fault(_unknown(table, label, used[label], classes, spellings.hint(label))))
    notes = [f"class {label!r} is taken as {target!r}" for label, target in sorted(targets.items())]
    return _renamed(table, lambda label: targets.get(label, label), tuple(classes.names)), notes, faults


def _unknown(table: SpanTable, label: str, where: str, classes: Classes, hint: str) -> str:
    number = sum(span.label == label for span in table.spans)
    more = f" ({number} spans)" if number > 1 else ""
    return f"{where}: class {label!r}{more} is not in {classes.source}{hint}; rename it, or add it to the class file"


def _renamed(table: SpanTable, name: Callable[[str], str], classes: tuple[str, ...]) -> SpanTable:
    videos = tuple(
        replace(video, spans=in_order([replace(span, label=name(span.label)) for span in video.spans]))
        for video in table.videos
    )
    return SpanTable(videos, classes)
