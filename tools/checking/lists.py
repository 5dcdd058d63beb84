"""Reads the lists of a data set and finds what is wrong in them: duplicates, overlapping splits, labels, classes.

disk.py, flow.py and videos.py check the files, and fix.py repairs the lists. One cause is one fault: a list that counts
its labels from 1 has one fault, not one per line.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets.lists.class_names import Classes, find_classes
from datasets.lists.columns import composed, label_base
from datasets.lists.parser import COLUMNS, ParsedList, parse_text
from datasets.lists.spans import span_in_words
from datasets.lists.spelling import Spelling
from datasets.lists.tables import number_classes
from utils.errors import ListError
from utils.scoring.label_sets import labels_to_text, spaces_hint
from utils.transforms.image import MAX_PIXELS

_UCF_GROUP = re.compile(r"(.*_g\d+)_c\d+")  # clips of one group were cut from one video


@dataclass(frozen=True)
class Fault:
    """Describes one cause of trouble.

    kind: a word for programs.
    message: for people.
    split, line, path: the line with the fault, if it is a single line.
    fix: what --fix does about it; "" if nothing.
    """

    kind: str
    message: str
    split: str = ""
    line: int = 0
    path: str = ""
    fix: str = ""


@dataclass
class Entry:
    """Holds one valid line of a list.

    split, line: where it is.
    path, num_frames: as the list has them; 0 where it gives no number.
    labels: one class, any number of classes with multi_label, or -1 if unknown.
    span: start and end, in seconds or, with `in_frames`, in frames as `RecordList.spans`; None for a whole video.
    moved: whether --fix writes the span, which is another one than in the list.
    drop: whether --fix removes the line.
    known: whether a fault of it is known, so that faults which follow from it are not looked for.
    """

    split: str
    line: int
    path: str
    num_frames: int
    labels: tuple[int, ...]
    span: tuple[float, float] | None = None
    in_frames: bool = False
    moved: bool = False
    drop: bool = False
    known: bool = False

    @property
    def length(self) -> int:
        """The number of frames of the whole video; 0 where the list does not give it."""
        return 0 if self.span else self.num_frames

    @property
    def span_text(self) -> str:
        """The span in words, for messages; "" for a whole video."""
        return "" if self.span is None else span_in_words(self.span, frames=self.in_frames)

    def shares(self, other: Entry) -> bool:
        """Returns whether this span of a video overlaps with another one of the same video, as far as can be known."""
        if self.span is None or other.span is None or self.in_frames != other.in_frames:
            return True
        return max(self.span[0], other.span[0]) < min(self.span[1], other.span[1])


@dataclass
class DataSet:
    """Holds the lists to check and the faults that were found so far.

    sources, roots: list file and root by split.
    num_class: of the class file, else of the config, else None.
    columns: names of the columns after the path.
    max_pixels: height x width that a frame may have.
    fps: frames per second of folders that are in no manifest.
    background: name of the class that data.background draws.
    empty: whether a row of a CSV may have neither a label nor a span, for a video without spans, as type: segment takes
        it; None where the method is unknown.
    record: whether folders of readable frames get a file with their checksums, in place of an earlier one.
    classes: the classes of all lists; None if nothing names them.
    names: class names by label, which --fix changes; None if nothing names them.
    entries: valid lines of all splits, in order.
    faults: in the order in which they were found.
    notes: what is no fault, but should be known.
    """

    sources: dict[str, Path]
    roots: dict[str, Path]
    num_class: int | None = None
    columns: tuple[str, ...] = COLUMNS
    max_pixels: int = MAX_PIXELS
    fps: float | None = None
    background: str | None = None
    empty: bool | None = False
    record: bool = False
    classes: Classes | None = None
    names: list[str] | None = None
    entries: list[Entry] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def class_file(self) -> Path | None:
        """The class file; None without one."""
        return None if self.classes is None or self.classes.from_list else Path(self.classes.source)

    @property
    def drawn(self) -> set[int]:
        """The class of background, which needs no video."""
        return {label for label, name in enumerate(self.names or ()) if name == self.background}

    @property
    def multi_label(self) -> bool:
        """True if a line has a set of classes instead of one class."""
        return "labels" in self.columns

    def kept(self, split: str) -> list[Entry]:
        """Returns the lines of one split that are not dropped."""
        return [entry for entry in self.entries if entry.split == split and not entry.drop]

    def without_fault(self) -> list[Entry]:
        """Returns the lines of all splits that have no fault so far."""
        return [entry for entry in self.entries if not entry.drop and not entry.known]

    def blame(self, kind: str, entry: Entry, message: str, *, fix: str = "", drop: bool = False) -> None:
        """Adds a fault of one line. drop: whether --fix removes the line."""
        where = f"{self.sources[entry.split]}:{entry.line}" + (f" ({entry.span_text})" if entry.span else "")
        self.faults.append(Fault(kind, f"{where}: {message}", entry.split, entry.line, entry.path, fix))
        entry.known = True
        entry.drop |= drop


def read_list(data: DataSet, split: str) -> None:
    """Reads the list of a split to its end; every invalid line becomes a fault.

    Raises ListError if the list cannot be read or has no valid line.
    """
    source = data.sources[split]
    try:
        text = source.read_bytes()
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}") from None
    _read_lines(data, split, text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    if not data.kept(split):
        expected = " ".join(("path", *data.columns))
        raise ListError(f"{source}: has no `{expected}` line; tools/make_lists.py writes lists")


def read_classes(data: DataSet, file: Path | None, *, encoded: bool) -> None:
    """Reads the class file, by default the one beside the lists; what is wrong with it becomes a fault.

    encoded: numbers the class names in the first list of encoded videos if there is no class file.
    """
    lists = [(source, data.roots[split]) for split, source in data.sources.items()]
    try:
        data.classes = find_classes(lists, file=file)
    except ListError as error:
        data.faults.append(Fault("class_file", str(error)))
        return
    if data.classes is None and encoded:
        data.classes = number_classes(lists, multi_label=data.multi_label)
    if data.classes is not None:
        try:
            data.classes.check(data.num_class)
        except ListError as error:
            data.faults.append(Fault("num_class", str(error)))
        data.names, data.num_class = data.classes.names, len(data.classes.names)


def _read_lines(data: DataSet, split: str, lines: list[bytes], first: int) -> None:
    """Adds the valid lines; a block with an invalid line is halved until that line is alone."""
    try:
        parsed = parse_text(b"\n".join(lines), first, data.sources[split], data.columns)
    except ListError as error:
        if len(lines) == 1:
            data.faults.append(Fault("line", str(error), split, first, fix="the line is removed"))
            return
        half = len(lines) // 2
        _read_lines(data, split, lines[:half], first)
        _read_lines(data, split, lines[half:], first + half)
    else:
        _take(data, split, parsed)


def _take(data: DataSet, split: str, parsed: ParsedList) -> None:
    blob, offsets = parsed.blob.tobytes(), parsed.offsets.tolist()
    numbers, counted = parsed.numbers, "num_frames" in data.columns
    flat = numbers["labels" if data.multi_label else "label"].tolist()
    stops = np.cumsum(numbers["sizes"]).tolist() if data.multi_label else range(1, len(flat) + 1)
    counts = numbers["num_frames"].tolist() if counted else [0] * len(parsed.lines)
    begins = numbers["offset"].tolist() if "offset" in numbers else None
    spelling = Spelling(data.roots[split])
    columns = (parsed.lines.tolist(), counts, (0, *stops), stops)
    for place, (line, num_frames, begin, end) in enumerate(zip(*columns, strict=False)):
        labels = tuple(flat[begin:end])
        path = os.fsdecode(blob[offsets[place] : offsets[place + 1]])
        span = None if begins is None else (begins[place], begins[place] + num_frames)
        entry = Entry(split, line, spelling.of(path), num_frames, labels, span, begins is not None)
        unlabelled = labels == (-1,) and split != "train"  # allowed in lists that are only scored
        negative = 0 if unlabelled else min(labels, default=0)
        if (counted and num_frames < 1) or negative < 0 or (span and span[0] < 0):
            reason = "has a negative offset" if span and span[0] < 0 else f"has {num_frames} frames"
            reason = f"has the negative label {negative}" if negative < 0 else reason
            reason += spaces_hint(entry.path) if data.multi_label else ""
            data.blame("line", entry, f"{entry.path!r} {reason}", fix="the line is removed")
        else:
            data.entries.append(entry)


def check_lists(data: DataSet) -> None:
    """Makes the checks that need neither frames nor videos."""
    from_one = False
    for split in data.sources:
        from_one = _check_labels(data, split, from_one=from_one)
    _check_duplicates(data)
    _check_overlap(data)
    _check_folders(data)


def labels_of(entries: Iterable[Entry]) -> set[int]:
    """Returns all classes that occur."""
    return {label for entry in entries for label in entry.labels if label >= 0}


def class_name(data: DataSet, label: int) -> str:
    """Returns a label with its name, if it has one."""
    named = data.names is not None and 0 <= label < len(data.names)
    return f"{label} ({data.names[label]})" if named and data.names else str(label)


def _check_labels(data: DataSet, split: str, *, from_one: bool) -> bool:
    """Checks the labels of a list, and returns whether they count from 1. from_one: whether those before it do."""
    entries = data.kept(split)
    if from_one := _counts_from_one(data, split, as_before=from_one):
        highest = max(labels_of(entries))
        data.faults.append(
            Fault(
                "label_base",
                f"{data.sources[split]}: its labels count from 1 (1..{highest}); they must count from 0",
                split,
                fix="1 is subtracted from every label",
            )
        )
        for entry in entries:
            entry.labels = tuple(label - (label > 0) for label in entry.labels)
    if data.num_class is not None:
        for entry in entries:
            if max(entry.labels, default=0) >= data.num_class:
                message = f"label {max(entry.labels)} is outside the {data.num_class} classes (0..{data.num_class - 1})"
                data.blame("label", entry, message, fix="the line is removed", drop=True)
    return from_one


def _counts_from_one(data: DataSet, split: str, *, as_before: bool) -> bool:
    """Returns whether the labels of a list are one too high: none is 0, and classes or other lists disagree.

    as_before: whether the lists before it count from 1.
    """
    entries = data.kept(split)
    labels = labels_of(entries)
    if 0 in labels or not labels:
        return False
    if data.names is not None and not data.multi_label:  # the folders of videos may have the names of classes
        index = {name: label for label, name in enumerate(data.names)}
        folders = [(entry.labels[0], _folder_class(entry, index)) for entry in entries if entry.labels[0] >= 0]
        steps = Counter(label - folder for label, folder in folders if folder is not None)
        if steps:
            return steps.most_common(1)[0][0] == 1
    first = data.classes.first if data.classes is not None and split == next(iter(data.sources)) else None
    if as_before or label_base(labels, len(labels) if data.num_class is None else data.num_class, first):
        return True
    for other in data.sources:
        known = labels_of(data.kept(other))
        if other != split and 0 in known and not labels <= known and {label - 1 for label in labels} <= known:
            return True
    return False


def _check_duplicates(data: DataSet) -> None:
    for split in data.sources:
        first: dict[object, Entry] = {}
        for entry in data.kept(split):
            apart = entry.labels if data.multi_label and entry.span else ()  # sets of one span are joined
            before = first.setdefault((os.path.normpath(entry.path), entry.span, apart), entry)
            if before is not entry:
                labels = f", with label {labels_to_text(before.labels)} instead of {labels_to_text(entry.labels)}"
                message = f"{entry.path!r} is already on line {before.line}{labels * (before.labels != entry.labels)}"
                data.blame("duplicate", entry, message, fix="the later line is removed", drop=True)


def _check_overlap(data: DataSet) -> None:
    if {"train", "val"} - set(data.sources):
        return
    validating: dict[str, list[Entry]] = defaultdict(list)
    for entry in data.kept("val"):
        validating[os.path.normpath(Path(data.roots["val"], entry.path))].append(entry)
    shared: list[tuple[Entry, Entry]] = []
    for entry in data.kept("train"):
        place = os.path.normpath(Path(data.roots["train"], entry.path))
        if other := next((other for other in validating.get(place, ()) if entry.shares(other)), None):
            shared.append((entry, other))
    if len(shared) == len(data.kept("train")) > 1:
        message = f"{data.sources['train']}: all {len(shared)} videos are also in {data.sources['val']}"
        data.faults.append(Fault("overlap", message, "train"))
        return
    for entry, other in shared:
        if entry.span is not None and other.span is not None:  # tools/checking/spans.py has one fault for a video
            continue
        message = f"{entry.path!r} is also a validation video, {data.sources['val']}:{other.line}"
        data.blame("overlap", entry, message, fix="the training line is removed", drop=True)
    groups: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: {"train": [], "val": []})
    for split in ("train", "val"):
        for entry in data.kept(split):
            name = Path(entry.path).name if entry.num_frames else Path(entry.path).stem
            if match := _UCF_GROUP.fullmatch(name):
                groups[match[1]][split].append(entry)
    for group, both in sorted(groups.items()):
        if both["train"] and both["val"]:
            split = "train" if len(both["train"]) <= len(both["val"]) else "val"
            entry, other = both["train"][0], both["val"][0]
            message = (
                f"{entry.path!r} was cut from the same video as the validation video {other.path!r} (group {group}), "
                f"{data.sources['val']}:{other.line}"
            )
            data.blame("group_overlap", entry, message, fix=f"the group's lines of {split} are removed")
            for one in both[split]:
                one.drop = one.known = True


def _check_folders(data: DataSet) -> None:
    """Finds videos in a folder that has the name of another class."""
    if data.names is None or data.multi_label:
        return
    index = {name: label for label, name in enumerate(data.names)}
    wrong: list[tuple[Entry, int]] = []
    agreeing = 0
    for entry in data.entries:
        folder = _folder_class(entry, index)
        if folder is not None and entry.labels[0] >= 0 and not entry.drop and not entry.known:
            if folder == entry.labels[0]:
                agreeing += 1
            else:
                wrong.append((entry, folder))
    if len(wrong) > agreeing:  # the folders do not stand for classes
        return
    for entry, folder in wrong:
        message = (
            f"{entry.path!r} has label {class_name(data, entry.labels[0])}, but is in the folder of "
            f"{class_name(data, folder)}"
        )
        data.blame("label_folder", entry, message, fix="the label of the folder is written")
        entry.labels = (folder,)
        entry.known = False


def _folder_class(entry: Entry, index: Mapping[str, int]) -> int | None:
    """Returns the class of the outermost folder above a video that has the name of a class; None without one."""
    folders = map(composed, Path(entry.path).parts[:-1])
    return next((index[folder] for folder in folders if folder in index), None)


def summary(faults: Iterable[Fault]) -> str:
    """Returns in words how many faults of each kind there are."""
    counts = Counter(fault.kind for fault in faults)
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items())
