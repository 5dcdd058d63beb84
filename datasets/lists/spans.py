"""Computes with spans of videos, pairs of a start and an end in seconds or frames, and writes them in words."""

from __future__ import annotations

import logging
import re
from typing import Any, NamedTuple

import numpy as np

_MOST = np.iinfo(np.int32).max
_SAME = 1e-4  # frames by which times may differ for rounding
ROUNDED = 0.1  # seconds by which spans may go beyond their video, as published durations are rounded
_log = logging.getLogger(__name__)
_MARK = re.compile(r"(.*)#(t|frames)=([0-9]+\.?[0-9]*),([0-9]+\.?[0-9]*)", re.DOTALL)


class NamedSpan(NamedTuple):
    """Holds what the name of a record says: the path of its video, and the start and the end in seconds or frames."""

    path: str
    start: float
    end: float
    in_frames: bool


def whole_frames(moments: Any) -> np.ndarray:
    """Returns the first frame at or after each moment, int64; moments are in frames, and frame k begins at moment k.

    Beyond the largest number that a list can have it stays there.
    """
    return np.clip(np.ceil(np.asarray(moments, np.float64) - _SAME), 0, _MOST).astype(np.int64)


def with_context(start: Any, end: Any, share: float) -> tuple[Any, Any]:
    """Returns start and end of spans that are longer by `share` of their length on each side, but begin at 0 or later.

    Both are numbers or arrays, in seconds or frames.
    """
    more = share * (end - start)
    return np.maximum(start - more, 0), end + more


def seconds_beyond(end: Any, length: Any, rate: Any) -> np.ndarray:
    """Returns by how many seconds ends of spans lie behind those of their videos, float64; 0 where it is by rounding.

    rate: frames per second; less than one frame is rounding, too. All three are numbers or arrays.
    """
    more = np.asarray(end, np.float64) - length
    return np.where(more > np.maximum(ROUNDED, 1 / np.asarray(rate, np.float64)), more, 0.0)


def warn_of_ends(source: Any, beyond: np.ndarray) -> None:
    """Logs how many spans of a list go beyond their video, if any do. beyond: as from `seconds_beyond`."""
    if number := int(np.count_nonzero(beyond)):
        _log.warning(
            "%s: %d of %d spans end behind the end of their video, by up to %.2f s, and are cut there; "
            "tools/check_data.py names them",
            source,
            number,
            len(beyond),
            beyond.max(),
        )


def span_in_words(span: tuple[float, float], *, frames: bool) -> str:
    """Returns a span in words, for messages: `1.5 to 4 s`, or `frames 30 to 89`, where the last one belongs to it."""
    start, end = span
    return f"frames {plain(start)} to {plain(end - 1)}" if frames else f"{plain(start)} to {plain(end)} s"


def not_there(*, frames: bool) -> str:
    """Returns what messages say of a video that does not show a span of it. frames: whether the span is in frames."""
    return "ends before this span does" if frames else "has no frame in this span"


def span_mark(span: tuple[float, float], *, frames: bool) -> str:
    """Returns what stands behind a path to name a span of it: `#t=1.5,4` in seconds, or `#frames=30,90`."""
    return f"#{'frames' if frames else 't'}={plain(span[0])},{plain(span[1])}"


def read_mark(name: str) -> NamedSpan | None:
    """Returns the span that a name of `RecordList.name` stands for; None for a whole video."""
    found = _MARK.fullmatch(name)
    return None if found is None else NamedSpan(found[1], float(found[3]), float(found[4]), found[2] == "frames")


def plain(number: float) -> str:
    """Returns a number as text without exponent and without needless zeros."""
    return np.format_float_positional(number, trim="-")
