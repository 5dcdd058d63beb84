"""Finds the file names of frames: their template and the number of the first frame.

Frame indices are 0-based everywhere; only this file and the stores turn them into file names.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from datasets.lists.records import RecordList
from datasets.lists.tables import IMAGE_SUFFIXES
from datasets.places.files import list_names
from datasets.places.place import is_address, place
from utils.errors import ConfigError, FrameError, ListError
from utils.scoring.label_sets import numbers_hint

_NUMBERED = re.compile(r"(.*?)(\d+)(\.[A-Za-z]+)")
FLOW_PAIRS = (
    ("flow_x", "flow_y"),
    ("x_", "y_"),
    ("u_", "v_"),
)  # beginnings of the names of x and y pictures of optical flow
FLOW_PREFIXES = tuple(prefix for pair in FLOW_PAIRS for prefix in pair)
_FORMAT_FIELD = re.compile(r"\{(?:0|)(?::(0?\d*)d?)?\}")
_PRINTF_FIELD = re.compile(r"%(0?\d*)d")
_PROBES = 24  # folders to look at


@dataclass(frozen=True)
class FolderNames:
    """Describes the numbered images of one folder that share prefix, suffix and padding.

    template: their file name with a format field for the number.
    first, last: the lowest and the highest number.
    count: how many images there are.
    """

    template: str
    first: int
    last: int
    count: int


def normalise_template(template: str) -> str:
    """Turns `img_%05d.jpg` or `img_{:05d}.jpg` into `img_{:05d}.jpg`.

    Raises ConfigError for a template that does not hold exactly one number.
    """
    fields = _FORMAT_FIELD.findall(template) + _PRINTF_FIELD.findall(template)
    if len(fields) != 1:
        raise ConfigError(
            f"data.frame_template: {template!r} must hold one number, like 'img_{{:05d}}.jpg' or 'img_%05d.jpg'"
        )
    field = f"{{:{fields[0]}d}}"
    normal = _PRINTF_FIELD.sub(field, _FORMAT_FIELD.sub(field, template))
    if re.search(r"[{}%]", normal.replace(field, "")):
        raise ConfigError(f"data.frame_template: {template!r} has stray {{, }} or %")
    return normal


def list_frames(folder: str | os.PathLike[str]) -> list[FolderNames]:
    """Returns every series of numbered images in a folder, the largest first; optical flow comes last."""
    found = [
        FolderNames(template, numbers[0], numbers[-1], len(numbers))
        for template, numbers in list_numbers(folder).items()
    ]
    return sorted(found, key=lambda names: (names.template.startswith(FLOW_PREFIXES), -names.count, names.template))


def list_numbers(folder: str | os.PathLike[str]) -> dict[str, list[int]]:
    """Returns the sorted numbers of the images in a folder by their template."""
    if is_address(folder):
        return _series(list_names(place(folder)))
    with os.scandir(folder) as entries:
        return _series(entry.name for entry in entries)


def mixed_series(numbers: Mapping[str, list[int]], template: str) -> str | None:
    """Returns the template of images that continue a series in another format: img_1.jpg, img_2.png; None without any.

    numbers: by template, as `list_numbers` returns them. Images that exist in both formats are no fault.
    """
    begin, there = _before_number(template), set(numbers[template])
    others = (name for name in numbers if name != template and _before_number(name) == begin)
    return next((name for name in others if not there.issuperset(numbers[name])), None)


def _before_number(template: str) -> str:
    return template.rpartition("{:")[0]


def _series(names: Iterable[str]) -> dict[str, list[int]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and match[3].lower() in IMAGE_SUFFIXES and not name.startswith("."):
            groups.setdefault((match[1], match[3]), []).append(match[2])
    found = {}
    for (prefix, suffix), digits in groups.items():
        width = min(len(number) for number in digits)
        padded = width > 1 and any(number.startswith("0") for number in digits)
        field = f"{{:0{width}d}}" if padded else "{:d}"
        template = prefix.replace("{", "{{").replace("}", "}}") + field + suffix
        found[template] = sorted(int(number) for number in digits)
    return found


def detect_template(
    records: RecordList, *, template: str | None = None, first_frame: int | None = None
) -> tuple[str, int]:
    """Detects (template, number of the first frame) of a data set from a few folders spread over its list.

    Given values are kept. Raises ListError if there are no folders or frames, or if folders disagree.
    """
    if template is not None:
        template = normalise_template(template)
        if first_frame is not None:
            return template, first_frame
    surveys = list(probe(records))
    if template is None:
        template = _only_template(records, surveys)
    if first_frame is None:
        first_frame = _only_first(records, template, surveys)
    return template, first_frame


def probe(records: RecordList) -> Iterable[tuple[int, list[FolderNames]]]:
    """Yields (record, series in its folder) for a few records, spread over the list, whose folders exist.

    Raises: ListError if no folder exists.
    """
    missing = 0
    chosen = np.unique(np.linspace(0, len(records) - 1, _PROBES).astype(int)).tolist()
    for index in chosen:
        try:
            series = list_frames(records.full_path(index))
        except (OSError, FrameError):
            missing += 1
            continue
        yield index, series
    if missing == len(chosen):
        path = records.full_path(0)
        others = f" (and none of {missing - 1} others)" if missing > 1 else ""
        raise ListError(
            f"{records.where(0)}: folder not found: {path}{others}; check train_root / val_root, which is put before "
            f"every path of the list{numbers_hint(records.path(0)) if records.spans is None else ''}"
        )


def _only_template(records: RecordList, surveys: list[tuple[int, list[FolderNames]]]) -> str:
    by_template: dict[str, int] = {}
    for index, series in surveys:
        names = [one for one in series if not one.template.startswith(FLOW_PREFIXES)] or series
        if len(names) > 1:
            shown = ", ".join(f"{one.template} ({one.count})" for one in names[:4])
            raise ListError(
                f"{records.full_path(index)}: holds several series of images: {shown}; choose one with "
                "data.frame_template"
            )
        if names:
            by_template.setdefault(names[0].template, index)
    if not by_template:
        raise ListError(
            f"{records.full_path(surveys[0][0])}: no numbered images in this folder or {len(surveys) - 1} others that "
            "were looked at; dump the frames with tools/dump_frames.py, or set data.frame_template"
        )
    if len(by_template) > 1:
        one, two = list(by_template.items())[:2]
        raise ListError(
            f"frames are called {one[0]} in {records.full_path(one[1])} but {two[0]} in {records.full_path(two[1])}; "
            "set data.frame_template, or dump all of them with the same names"
        )
    return next(iter(by_template))


def _only_first(records: RecordList, template: str, surveys: list[tuple[int, list[FolderNames]]]) -> int:
    """Returns the number that most folders begin with.

    A folder that begins later misses frames, which the check of the disk reports.
    """
    firsts: dict[int, int] = {}
    for index, series in surveys:
        for one in series:
            if one.template == template:
                firsts[index] = one.first
    if not firsts:
        folder = records.full_path(surveys[0][0])
        raise ListError(
            f"{folder}: no frame matches data.frame_template {template!r}, neither here nor in the other folders"
        )
    counts = Counter(firsts.values())
    (common, times), *others = counts.most_common()
    if common > 1 or min(counts) < common or (others and others[0][1] == times):
        lowest = min(firsts, key=lambda index: (firsts[index], index))
        highest = max(firsts, key=lambda index: (firsts[index], -index))
        raise ListError(
            f"cannot tell the number of the first frame: {records.full_path(lowest)} begins at {firsts[lowest]}, "
            f"{records.full_path(highest)} at {firsts[highest]}; set data.first_frame"
        )
    return common
