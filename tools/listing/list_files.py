"""Writes the files of a dataset's lists/: the class file and lists of frames (.txt) or of encoded videos (.csv)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.lists.class_names import Classes, read_classes
from datasets.lists.columns import composed, label_base
from datasets.lists.json_objects import each_once
from tools.listing.found import Found
from utils.errors import ListError, UserError
from utils.files import atomic_write, no_pipe
from utils.scoring.label_sets import NONE, SEPARATOR, labels_to_text

MOST_DIGITS = 9  # of the number of a class


def class_order(labels: Iterable[str], *, renumber: bool | None = False) -> list[str]:
    """Returns class names in their order: sorted, or every number up to the highest if all of them are numbers.

    So a number stays the label that it is, which a trained network needs; prints that. renumber: counts the numbers
    that occur from 0 instead; None if the command has no such option, but --classes.

    Raises UserError for numbers that cannot be kept.
    """
    names = set(labels) - {""}
    if not names or not all(map(is_label, names)):
        return sorted(names)
    numbers = sorted({int(name) for name in names})
    ordered, highest = [str(number) for number in numbers], numbers[-1]
    if renumber:
        print(f"--renumber: {ordered[0]} becomes 0, {ordered[-1]} becomes {len(ordered) - 1}")
        return ordered
    if highest >= _MOST_CLASSES:
        way_out = "--renumber counts these from 0, or name all classes with --class-names"
        raise UserError(
            f"a label is {highest}, but only {len(names)} classes occur; "
            f"{'name all of them with --classes' if renumber is None else way_out}"
        )
    without = highest + 1 - len(numbers)
    if without:
        print(
            f"labels are numbers and are kept, though {without} of the classes 0 to {highest} have no video; "
            f"{'name them with --classes' if renumber is None else '--renumber counts the others from 0'}"
        )
    return [str(number) for number in range(highest + 1)]


def is_label(name: str) -> bool:
    """Returns whether a label is a number from 0 on. Raises: UserError for one that is no number of a class."""
    found = name.isascii() and name.isdecimal()
    if found and len(name) > MOST_DIGITS:
        raise UserError(
            f"label {name[:20]} has {len(name)} digits, but the number of a class has at most {MOST_DIGITS}"
        )
    return found


def plain_numbers(videos: Sequence[Found]) -> list[Found]:
    """Replaces labels such as 007 by 7 if all labels are numbers."""
    labels = [label for video in videos for label in video.classes if label]
    if not all(map(is_label, labels)):
        return list(videos)
    return _relabelled(videos, {label: str(int(label)) for label in labels})


def _relabelled(videos: Sequence[Found], names: Mapping[str, str]) -> list[Found]:
    def changed(video: Found) -> Found:
        sets = video.labels and tuple(names[label] for label in video.labels)
        return replace(video, label=names.get(video.label, video.label), labels=sets)

    return [changed(video) for video in videos]


def read_class_order(path: Path, *, in_order: bool = True) -> Classes:
    """Reads class names in order from a class file, or from Something-Something's labels.json (name -> index).

    in_order: False sorts the names of a class file instead.

    Raises ListError.
    """
    if path.suffix.lower() != ".json":
        classes = read_classes(path)
        return classes if in_order else replace(classes, names=sorted(classes.names), first=None)
    try:
        content = json.loads(no_pipe(path).read_text("utf-8"), object_pairs_hook=each_once(path))
        index = {composed(name): int(number) for name, number in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ListError(f"{path}: is not a mapping of class names to indices ({error})") from error
    if sorted(index.values()) != list(range(len(index))):
        raise ListError(f"{path}: its indices are not 0..{len(index) - 1}")
    return Classes(sorted(index, key=index.__getitem__), path, 0)


def named_classes(videos: Sequence[Found], classes: Classes) -> list[Found]:
    """Replaces labels that are numbers by class names, and prints how the numbers are counted.

    They are counted as the class file counts, unless one is 0, or only the other way fits. Raises UserError for a
    number without a class.
    """
    labels = [label for video in videos for label in video.classes if label]
    names = classes.names
    if not labels or not all(map(is_label, labels)) or set(labels) <= set(names):
        return list(videos)
    numbers = [int(label) for label in labels]
    base = label_base(set(numbers), len(names), classes.first)
    if max(numbers) - base >= len(names):
        raise UserError(f"{classes.source}: has {len(names)} classes, but a label is {max(numbers)}")
    print(f"labels are numbers, counted from {base}: {numbers[0]} is {names[numbers[0] - base]!r}")
    return _relabelled(videos, {label: names[number - base] for label, number in zip(labels, numbers, strict=True)})


_MOST_CLASSES = 100_000  # above that, numbers are names, such as dates
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


def csv_lines(videos: Sequence[Found], index: Mapping[str, int], *, empty: Sequence[str] = ()) -> list[str]:
    """Returns the lines of a list of encoded videos: path,label and, if any video is cut, start,end in seconds.

    A set of classes is written `run;jump`, the empty set `-`, and an unknown class -1.
    empty: paths of videos without spans, in whose lines the other cells are empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cut = bool(empty) or any(video.start is not None for video in videos)
    writer.writerow(["path", "label", "start", "end"] if cut else ["path", "label"])
    for video in _in_order(videos, index):
        label = (video.label or "-1") if video.labels is None else SEPARATOR.join(video.labels) or NONE
        writer.writerow([video.path, label, *((video.start, video.end) if cut else ())])
    writer.writerows([found.path, "", "", ""] for found in _in_order([Found(path, "", 0) for path in empty], index))
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
