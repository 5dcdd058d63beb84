"""Turns what label files say into spans: times of every form, frames, and faults that are found on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from datasets.lists.columns import read_label, read_seconds
from datasets.spans.frame_clock import FrameClock
from datasets.spans.span import Span
from utils.errors import ListError

_COMMA = re.compile(r"((?:\d+:){0,2}-?\d+),(\d+)")
_ODD = (KeyError, TypeError, ValueError, AttributeError, LookupError, OverflowError)


@dataclass(frozen=True)
class Fault:
    """Describes something that is wrong with labels.

    message: what is wrong, where, and what to do.
    fix: what --fix does about it; "" if it does nothing.
    """

    message: str
    fix: str = ""


class Clocks(Protocol):
    """Knows when the frames of videos appear."""

    def look_at(self, names: Iterable[str]) -> None:
        """Finds out about several videos at once, which takes less time than one by one."""

    def clock(self, name: str) -> FrameClock | None:
        """Returns the times of a video's frames; None if they are unknown."""

    def fault(self, name: str) -> str:
        """Returns why a video cannot be used; "" if it can, or if no videos are known."""


class NoVideos:
    """Knows no video."""

    def look_at(self, names: Iterable[str]) -> None:
        """Does nothing, as there are no videos."""

    def clock(self, name: str) -> FrameClock | None:
        """Returns None for every video."""
        return None

    def fault(self, name: str) -> str:
        """Returns "" for every video."""
        return ""


@dataclass
class Reading:
    """Collects what readers find in one label file.

    clocks: knows the frames of videos.
    fallback: frames per second of videos whose rate nothing else says.
    faults: what is wrong with spans; those of them that have no meaning are left out.
    notes: what the file says beyond spans and is not taken over.
    """

    clocks: Clocks = field(default_factory=NoVideos)
    fallback: float | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def spans(self, start: Any, end: Any, label: Any, where: str, score: Any = None) -> list[Span]:
        """Returns the span from `start` to `end`, seconds or clock times, in a list; an empty one if they are neither.

        Raises ListError for a label that is empty or no text, and for a score that is no number.
        """
        times = self.times(start, end, where)
        if times is None:
            return []
        return [Span(*times, class_name(label, where), number(score, "score", where), where)]

    def times(self, start: Any, end: Any, where: str) -> tuple[float, float] | None:
        """Returns start and end in seconds; None if one is neither seconds nor a clock time, which is a fault."""
        times = self._seconds(start, "start", where), self._seconds(end, "end", where)
        return None if times[0] is None or times[1] is None else (times[0], times[1])

    def frames(
        self, first: Any, after: Any, label: Any, where: str, clock: FrameClock, score: Any = None, *, base: int = 0
    ) -> list[Span]:
        """Returns the span of the frames from `first` on, counted from `base`, before `after`, like `spans`.

        after: counted from 0; where frames count from 1, this is the number of the last one.
        """
        frames = self.frame_numbers(first, after, where)
        if frames is None:
            return []
        return self.spans(clock.second(frames[0] - base), clock.second(frames[1]), label, where, score)

    def frame_numbers(self, first: Any, after: Any, where: str) -> tuple[int, int] | None:
        """Returns two numbers of frames; None if one is no whole number, which is a fault."""
        frames = self._frame(first, where), self._frame(after, where)
        return None if frames[0] is None or frames[1] is None else (frames[0], frames[1])

    def clock(self, name: str, where: str, fps: float | None = None) -> FrameClock:
        """Returns when the frames of a video appear: by `fps` from the file, else as in the video, else the fallback.

        Raises ListError without any of them.
        """
        if fps is None and (found := self.clocks.clock(name)) is not None:
            return found
        rate = fps or self.fallback
        if rate is None and self.clocks.fault(name):  # which `check` says, and then nobody needs the times
            return FrameClock(1.0)
        if rate is None:
            raise ListError(
                f"{where}: spans of {name} are in frames, and nothing says how many a second there are; give --videos, "
                "the folder of the videos, or --fps"
            )
        return FrameClock(rate)

    def _frame(self, value: Any, where: str) -> int | None:
        try:
            return frame_number(value, where)
        except ListError as error:
            self.faults.append(Fault(str(error)))
            return None

    def _seconds(self, value: Any, what: str, where: str) -> float | None:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError(f"{value!r} is no number")
            seconds = read_seconds(str(value))
            if seconds is None:
                raise ValueError("nothing is written")
            return seconds
        except ValueError:
            comma = _COMMA.fullmatch(value.strip()) if isinstance(value, str) else None
            if comma is not None:
                self.faults.append(
                    Fault(f"{where}: {what} {shown(value)} has a comma; write a point", "the comma is read as a point")
                )
                return read_seconds(f"{comma[1]}.{comma[2]}")
        fault = f"{where}: {what} {shown(value)} is not a time; write seconds (12.5) or a clock time (00:01:12.50)"
        self.faults.append(Fault(fault))
        return None


def shown(value: Any) -> str:
    """Returns a value as messages show it, at most 80 characters long."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def class_name(label: Any, where: str) -> str:
    """Returns a label as the name of a class, a number as `read_label` does. Raises ListError for an unknown class."""
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    name = read_label(label, where=where) if isinstance(label, str) else None
    if name is None:
        raise ListError(f"{where}: the label is {shown(label)}; every span needs the name of a class")
    if not name.isprintable():
        raise ListError(f"{where}: the label {shown(label)} has characters that are not printed; remove them")
    return name


def _float(value: Any) -> float:
    """Returns a value as a number. Raises ValueError or TypeError for what only Python takes for one: `1_5`, True."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def frame_number(value: Any, where: str) -> int:
    """Returns the number of a frame. Raises ListError for anything but a whole number."""
    try:
        frame = _float(value)
    except (TypeError, ValueError, OverflowError):
        frame = math.nan
    if not frame.is_integer():
        raise ListError(f"{where}: {shown(value)} is not the number of a frame; write a whole number")
    return int(frame)


def number(value: Any, what: str, where: str) -> float | None:
    """Returns a finite number; None for nothing. Raises ListError."""
    if value is None or value == "":
        return None
    try:
        if not math.isfinite(found := _float(value)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ListError(f"{where}: {what} {shown(value)} is not a number; correct or remove it") from None
    return found


def positive(value: Any, what: str, where: str) -> float | None:
    """Returns a number above 0; None for nothing, and for 0, which some tools write for unknown. Raises ListError."""
    found = number(value, what, where)
    if found is not None and found < 0:
        raise ListError(f"{where}: {what} {found:g} is below 0; correct or remove it")
    return found or None


def count(value: Any, what: str, where: str) -> int | None:
    """Returns a whole number above 0; None for nothing and for 0. Raises ListError."""
    found = positive(value, what, where)
    if found is not None and not found.is_integer():
        raise ListError(f"{where}: {what} {found:g} is not a whole number; correct or remove it")
    return None if found is None else int(found)


def both(values: Any) -> tuple[Any, Any]:
    """Returns the two values of a list, such as a start and an end. Raises ValueError for anything else, also text."""
    if not isinstance(values, list) or len(values) != 2:
        raise ValueError(f"{shown(values)} is no list of a start and an end")
    return values[0], values[1]


@contextmanager
def entry(where: str) -> Iterator[None]:
    """Turns the errors of reading one record of a file into a ListError that says where."""
    try:
        yield
    except _ODD as error:
        raise ListError(f"{where}: has an unexpected form ({type(error).__name__}: {error})") from error
