"""Finds classes that nothing names, and classes that no list shows, or only one of them."""

from __future__ import annotations

from collections.abc import Mapping

from datasets.lists.columns import FRAMES, SECONDS, find_columns, is_number, read_label
from datasets.lists.tables import Table
from datasets.spans.names import Spellings
from tools.checking.lists import DataSet, Fault, class_name, labels_of
from utils.errors import ListError
from utils.scoring.label_sets import NONE, SEPARATOR

_REMOVED = "the line is removed"
_SHOWN = 5  # classes in a note


def mended_labels(data: DataSet, split: str, table: Table) -> Table:
    """Returns a CSV with classes as the data set spells them. A row where that changes something becomes a fault.

    Rows with an unknown class, and those of a training list without one, are faults as well, and empty in the table.
    """
    header, rows = table
    columns = find_columns(header, where=f"{data.sources[split]}:1")
    if not {"path", "label"} <= columns.keys():
        return table
    spellings = Spellings(data.names or [])
    kept = []
    for line, cells in enumerate(rows, 2):
        if any(cells) and len(cells) > max(columns.values()):
            cells = _mended(data, split, line, cells, columns, spellings)
        kept.append(cells)
    return header, kept


def _mended(
    data: DataSet, split: str, line: int, cells: list[str], columns: Mapping[str, int], spellings: Spellings
) -> list[str]:
    """Returns a row with classes as the data set spells them; an empty one if it has an unknown class."""
    where, path, cell = f"{data.sources[split]}:{line}", cells[columns["path"]], cells[columns["label"]].strip()
    parts = [part.strip() for part in cell.split(SEPARATOR)] if data.multi_label else [cell]

    def wrong(kind: str, message: str, fix: str) -> list[str]:
        data.faults.append(Fault(kind, message, split, line, path, fix))
        return []

    for place, part in enumerate(parts):
        try:
            name = read_label(part, where=where)
        except ListError as error:
            return wrong("line", str(error), _REMOVED)
        if name is None and (split == "train" or data.empty) and not data.multi_label:
            times = [columns[key] for key in (*SECONDS, *FRAMES) if key in columns]
            if data.empty is not False and times and not any((cell, *(cells[place].strip() for place in times))):
                continue  # a video without spans
            what = "training video" if split == "train" else "video"
            return wrong("line", f"{where}: {path!r} has no class, and every {what} needs one", _REMOVED)
        if name is None or name == NONE or data.classes is None or name in data.classes.names:
            continue
        if is_number(name) and not data.classes.from_list:  # a label by itself
            continue
        if len(found := spellings.find(name)) == 1:
            parts[place] = found[0]
            wrong("class", f"{where}: class {name!r} is {found[0]!r} in {data.classes.source}", "it is spelled so")
            continue
        what = f"{where}: class {name!r} is not in {data.classes.source}{spellings.hint(name)}"
        return wrong("class", f"{what}; rename it, or add it there", _REMOVED)
    label = SEPARATOR.join(parts)
    return [label if place == columns["label"] and label != cell else one for place, one in enumerate(cells)]


def check_classes(data: DataSet) -> None:
    """Finds classes without a training video, and notes those that are trained but not validated.

    It must be the last check, because lines that others drop may leave a class empty.
    """
    if "train" not in data.sources:
        return
    for label in empty_classes(data):
        fault = Fault("class_hole", hole(data, label), "train", fix="the class is removed and the later ones move up")
        data.faults.append(fault)
    if validated := labels_of(data.kept("val")):
        missing = sorted(labels_of(data.kept("train")) - validated)
        names = ", ".join(class_name(data, label) for label in missing[:_SHOWN]) + ", ..." * (len(missing) > _SHOWN)
        if missing:
            count = "class is" if len(missing) == 1 else "classes are"
            data.notes.append(
                f"{data.sources['val']}: {len(missing)} {count} in no validation video, so no score says anything "
                f"about: {names}"
            )


def empty_classes(data: DataSet) -> list[int]:
    """Returns the classes without a training video, in order."""
    if "train" not in data.sources:
        return []
    others = labels_of(entry for entry in data.entries if not entry.drop)
    count = data.num_class if data.num_class is not None else max(others, default=-1) + 1
    return sorted(set(range(count)) - labels_of(data.kept("train")) - data.drawn)


def hole(data: DataSet, label: int) -> str:
    """Says that a class has no training video, and whether any other list shows it."""
    others = [split for split in data.sources if split != "train" and label in labels_of(data.kept(split))]
    more = f", only of {' and '.join(others)}" if others else ", and is in no list" if len(data.sources) > 1 else ""
    return f"{data.sources['train']}: class {class_name(data, label)} has no training video{more}"
