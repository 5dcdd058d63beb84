"""The lists and the class file of a data set, read to the end however many of their lines are none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from datasets.lists.class_names import find_class_file, read_class_file
from datasets.lists.parser import ParsedList, parse_text
from tools.checking.lists import DataSet, Entry, Fault
from utils.errors import ListError


def read(data: DataSet, split: str) -> None:
    """Reads the list of a split, noting every line that is none."""
    source = data.sources[split]
    try:
        text = source.read_bytes()
    except OSError as error:
        raise ListError(f"{source}: cannot be read: {error.strerror}") from None
    _read_lines(data, split, text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    if not data.of(split):
        expected = " ".join(("path", *data.columns))
        raise ListError(f"{source}: has no line `{expected}`; tools/make_lists.py writes lists")


def read_classes(data: DataSet, classes: Path | None) -> None:
    """Reads the class file: the one given, or the one beside the lists."""
    first = next(iter(data.sources))
    try:
        data.class_file = classes or find_class_file(data.sources[first], data.roots[first])
        if data.class_file is not None:
            data.names = read_class_file(data.class_file)
    except ListError as error:
        data.faults.append(Fault("class_file", str(error)))
    if data.names is not None:
        if data.num_class is not None and data.num_class != len(data.names):
            data.faults.append(
                Fault(
                    "num_class",
                    f"{data.class_file}: names {len(data.names)} classes, the config has num_class {data.num_class}",
                )
            )
        data.num_class = len(data.names)


def _read_lines(data: DataSet, split: str, lines: list[bytes], first: int) -> None:
    """Takes the good lines; a part with a bad one is halved until the bad one is alone."""
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
    columns = (parsed.lines.tolist(), counts, (0, *stops), stops)
    for place, (line, num_frames, begin, end) in enumerate(zip(*columns, strict=False)):
        labels = tuple(flat[begin:end])
        entry = Entry(split, line, os.fsdecode(blob[offsets[place] : offsets[place + 1]]), num_frames, labels)
        unlabelled = labels == (-1,) and split != "train"  # scored, not learned from
        negative = 0 if unlabelled else min(labels, default=0)
        if (counted and num_frames < 1) or negative < 0:
            reason = f"has the negative label {negative}" if negative < 0 else f"has {num_frames} frames"
            data.blame("line", entry, f"{entry.path!r} {reason}", fix="the line is removed")
        else:
            data.entries.append(entry)
