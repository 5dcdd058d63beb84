"""Writes the files of a dataset's lists/: the class file and lists of frames (.txt) or of encoded videos (.csv)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.lists.class_names import read_class_file
from tools.listing.found import Found
from utils.errors import ListError, UserError
from utils.files import atomic_write
from utils.scoring.label_sets import NONE, SEPARATOR, labels_to_text


def class_order(labels: Iterable[str]) -> list[str]:
    """Sorts class names, by value if all of them are numbers."""
    names = set(labels)
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names)


def read_classes(path: Path, *, in_order: bool = True) -> list[str]:
    """Reads class names in order from a class file, or from Something-Something's labels.json (name -> index).

    in_order: False sorts the names of a class file instead.

    Raises ListError.
    """
    if path.suffix.lower() != ".json":
        return read_class_file(path) if in_order else sorted(read_class_file(path))
    try:
        index = {str(name): int(number) for name, number in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ListError(f"{path}: is not a mapping of class names to indices ({error})") from error
    if sorted(index.values()) != list(range(len(index))):
        raise ListError(f"{path}: its indices are not 0..{len(index) - 1}")
    return sorted(index, key=index.__getitem__)


def named_classes(videos: Sequence[Found], classes: Sequence[str], path: Path) -> list[Found]:
    """Replaces labels that are numbers by class names, and prints how the numbers are counted.

    They are counted from 0, or from 1 if only that fits. Raises UserError for a number without a class.
    """
    labels = [label for video in videos for label in video.classes if label]
    if not labels or not all(label.isascii() and label.isdigit() for label in labels) or labels[0] in classes:
        return list(videos)
    numbers = [int(label) for label in labels]
    base = 1 if min(numbers) >= 1 and max(numbers) == len(classes) else 0
    if max(numbers) - base >= len(classes):
        raise UserError(f"{path}: has {len(classes)} classes, but a label is {max(numbers)}")
    print(f"labels are numbers, counted from {base}: {numbers[0]} is {classes[numbers[0] - base]!r}")
    names = {label: classes[number - base] for label, number in zip(labels, numbers, strict=True)}

    def named(video: Found) -> Found:
        sets = video.labels and tuple(names[label] for label in video.labels)
        return replace(video, label=names.get(video.label, video.label), labels=sets)

    return [named(video) for video in videos]


SPACES = str.maketrans("\t\u00a0\u3000", "   ")  # a list can contain them, although Python does not call them printable


def list_lines(videos: Sequence[Found], index: Mapping[str, int]) -> list[str]:
    """Returns the lines of a list in the order of classes and names; -1 stands for an unknown class."""
    lines: list[str] = []
    for video in _in_order(videos, index):
        path = video.path
        if path[0] in ' \t",' or path[-1] in ' \t",':
            path = '"' + path.replace('"', '""') + '"'
        lines.append(f"{path} {video.num_frames} {labels_to_text(_numbers(video, index))}\n")
    return lines


def csv_lines(videos: Sequence[Found], index: Mapping[str, int]) -> list[str]:
    """Returns the lines of a list of encoded videos: path,label and, if any video is cut, start,end in seconds.

    A set of classes is written `run;jump`, the empty set `-`, and an unknown class -1.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cut = any(video.start is not None for video in videos)
    writer.writerow(["path", "label", "start", "end"] if cut else ["path", "label"])
    for video in _in_order(videos, index):
        label = (video.label or "-1") if video.labels is None else SEPARATOR.join(video.labels) or NONE
        writer.writerow([video.path, label, *((video.start, video.end) if cut else ())])
    return text.getvalue().splitlines(keepends=True)


def _in_order(videos: Sequence[Found], index: Mapping[str, int]) -> list[Found]:
    for video in videos:
        if not video.path.translate(SPACES).isprintable():
            raise UserError(f"{video.path!r}: a path in a list cannot contain such characters; rename it")
    return sorted(videos, key=lambda video: (_numbers(video, index), video.path, video.start or 0.0))


def _numbers(video: Found, index: Mapping[str, int]) -> list[int]:
    return sorted(index.get(label, -1) for label in video.classes)


def write(path: Path, lines: Sequence[str], what: str) -> None:
    """Writes a file of lists/ and prints whether it is new, unchanged or replaced. what: describes its contents."""
    text = "".join(lines)
    before = path.read_text("utf-8") if path.is_file() else None
    if before != text:
        with atomic_write(path, "w") as file:
            file.write(text)
    verb = "wrote" if before is None else "unchanged:" if before == text else "replaced"
    print(f"{verb} {path}: {what}")
