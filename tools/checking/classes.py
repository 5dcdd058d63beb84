"""Finds classes that no list shows, or only one of them."""

from __future__ import annotations

from tools.checking.lists import DataSet, Fault, class_name, labels_of

_SHOWN = 5  # classes in a note


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
