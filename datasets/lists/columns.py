"""Decides what the columns and cells of a table mean: which column is what, labels as text or numbers, seconds.

Lists in main.py and annotation files in tools/make_lists.py follow the same rules, so that both see the same videos.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Sequence

from utils.errors import ListError

IDS = frozenset({"video_id", "youtube_id"})  # columns with file names without folder and suffix
_SEVERAL = {"labels", "classes", "actions"}
# names that a column may have, in published data sets and in tables written by hand
KNOWN = {
    "path": {"file", "filename", "file_name", "path", "video", "video_name", "video_path", "name", "clip", *IDS},
    "label": {"label", "class", "class_name", "classname", "label_name", "category", "action", "target", *_SEVERAL},
    "split": {"split", "subset", "set"},
}
_MOMENTS = {"start": "start", "begin": "start", "t0": "start", "end": "end", "stop": "end", "t1": "end"}
SECONDS = ("start", "end")
FRAMES = ("start_frame", "end_frame")  # under these names only: others may count from 1, or mean the last frame
_SECONDS = {"t", "time", "timestamp", "s", "sec", "secs", "second", "seconds"}  # what may stand beside these words
# words in the name of a column that seems to say which part of a video is meant
_TIMES = {"start", "begin", "end", "stop", "t0", "t1", "onset", "offset", "from", "until", "till", "starts", "ends"}
_TIMES |= {"time", "times", "timestamp", "timestamps", "segment", "segments", "interval", "span", "beg", "finish"}
_JOINED = re.compile(r"(t|time|timestamp|secs?|seconds?)?(start|begin|end|stop)(time|timestamp|secs?|seconds?)?")
# an edge of a part and its unit, as one word or two: endframe, first_frame, in_point, cut_in, t_max
_EDGE, _UNIT = "(start|begin|end|stop|from|to|first|last|in|out)", "(time|secs?|seconds?|ms|frames?|idx|index|point)"
_EDGES = re.compile(f"{_EDGE}{_UNIT}|{_UNIT}{_EDGE}|(cut|clip|trim|mark)(in|out)|(t|time)(min|max)")
_EDGES_ALONE = ({"in", "out"}, {"first", "last"}, {"from", "to"})
_UNKNOWN = {"", "nan", "<na>"}  # pandas writes the last two where it converts a missing label to text
_NUMBER = re.compile(r"\+?(-?[0-9]{1,18})(?:\.([0-9]*))?")
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")


def find_columns(header: Sequence[str], *, where: str) -> dict[str, int]:
    """Returns the position of each known column by its key in KNOWN or FRAMES, or "start" or "end"; the first counts.

    FRAMES are returned only without start and end.

    where: file and line, for messages. A row without a path column is not a header, and nothing in it is checked.

    Raises ListError for two label columns, of which only one can be meant, and for columns that seem to be times but
    are not known as such: whole videos would be taken instead of their parts.
    """
    names = [normal_name(cell) for cell in header]
    places = {key: [place for place, name in enumerate(names) if name in known] for key, known in KNOWN.items()}
    for place, name in enumerate(names):
        words = [word for word in _words(name) if word not in _SECONDS]
        if len(words) == 1 and words[0] in _MOMENTS:
            places.setdefault(_MOMENTS[words[0]], []).append(place)
    found = {key: there[0] for key, there in places.items() if there}
    if "path" not in found:
        return found
    if len(labels := places["label"]) > 1:
        one, other = (header[place].strip() for place in labels[:2])
        raise ListError(
            f"{where}: {one!r} and {other!r} could both be the label; remove or rename one of these columns (where one "
            "of them is -1 for videos that do not show the class, remove those rows first)"
        )
    if not {"start", "end"} <= set(found) and set(FRAMES) <= set(names):
        found = {key: place for key, place in found.items() if key not in ("start", "end")}
        return found | {key: names.index(key) for key in FRAMES}
    if not {"start", "end"} <= set(found):
        taken = {found[key] for key in ("path", "label", "split") if key in found}
        alone = set().union(*(pair for pair in _EDGES_ALONE if pair <= set(names)))
        times = [
            place for place, name in enumerate(names) if place not in taken and (name in alone or _is_like_a_time(name))
        ]
        if times:
            shown = " and ".join(repr(header[place].strip()) for place in times[:2])
            verb = "seem" if len(times) > 1 else "seems"
            raise ListError(
                f"{where}: {shown} {verb} to say which part of a video is meant; call the columns start and end and "
                "give seconds, or start_frame and end_frame and give frames counted from 0, end_frame the first one "
                "after it; or remove them to take whole videos"
            )
    return found


def _words(name: str) -> list[str]:
    """Returns the words of a normal name, also where moment and unit are joined: starttime."""
    words: list[str] = []
    for word in name.split("_"):
        joined = _JOINED.fullmatch(word)
        words += filter(None, joined.groups()) if joined else [word]
    return words


def _is_like_a_time(name: str) -> bool:
    """Returns whether a column seems to say which part of a video is meant, by its normal name."""
    words = _words(name)
    pairs = ["".join(pair) for pair in itertools.pairwise(words)]
    return bool(_TIMES & set(words)) or any(map(_EDGES.fullmatch, words + pairs))


def normal_name(cell: str) -> str:
    """Returns a column's name in the form that KNOWN uses."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cell.strip())  # startTime
    return re.sub(r"[\s\-_()\[\]]+", "_", words).strip("_").lower()


def delimiter_of(header: str) -> str:
    """Returns what separates the columns of a table: a tab, a comma or a semicolon."""
    return next((mark for mark in "\t,;" if mark in header), ",")


def check_width(cells: Sequence[str], header: Sequence[str], *, least: int, where: str) -> None:
    """Raises ListError for a row with fewer columns than `least`, or with cells beyond those of the header.

    header: the first row, with or without names. Empty cells beyond it, as spreadsheets write them, are allowed.
    """
    wrong = f"{where}: has {len(cells)} columns, but the first line has {len(header)}"
    if len(cells) < least:
        raise ListError(f"{wrong}; fill in those that are missing")
    if any(cell.strip() for cell in cells[len(header) :]):
        raise ListError(f"{wrong}; put double quotes around a cell with a comma, and write numbers with a point")


def read_label(cell: str, *, where: str) -> str | None:
    """Returns a label as written, or a number without its fraction (`2.0` is 2); None if it is unknown: empty, nan, -1.

    Raises ListError for a number that is not whole.
    """
    text = composed(cell.strip())
    if text.lower() in _UNKNOWN:
        return None
    number = _NUMBER.fullmatch(text)
    if number is None:
        if text.isdecimal():
            raise ListError(f"{where}: label {text[:20]}... has {len(text)} digits, which no number of a class has")
        return text
    if (number[2] or "").strip("0"):
        raise ListError(f"{where}: label {text} is not a whole number")
    return None if int(number[1]) == -1 else number[1]


def read_seconds(cell: str) -> float | None:
    """Returns seconds, from `12.5` or from a clock such as `00:01:12.50`; None for an empty cell or nan.

    Raises ValueError for anything else.
    """
    text = cell.strip()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = clock[1], int(clock[2]), float(clock[3])
        if (hours and minutes >= 60) or seconds > 60:  # some programs round 59.999 to 60
            raise ValueError(f"{cell!r} has more than 60 seconds, or more than 59 minutes beside hours")
        return 3600 * int(hours or 0) + 60 * minutes + seconds
    number = float(text) if text else math.nan
    if math.isinf(number) or "_" in text:  # Python takes 1_5 for 15
        raise ValueError(f"{cell!r} is not a finite number of seconds")
    return None if math.isnan(number) else number


def composed(text: str) -> str:
    """Returns text in the composed form of Unicode; macOS may write an e and its accent as two characters."""
    return unicodedata.normalize("NFC", text)


def is_number(label: str) -> bool:
    """Returns whether a label from `read_label` is a number."""
    return bool(_NUMBER.fullmatch(label))


def label_base(numbers: set[int], num_class: int | None, first: int | None) -> int:
    """Returns whether labels count from 0 or 1.

    numbers: all labels; None of them is -1.
    num_class: number of classes, if it is known.
    first: index of the first class in the class file; None without one, or if it has only names.
    """
    if not numbers or 0 in numbers:
        return 0
    return 1 if first == 1 or max(numbers) == num_class else 0
