"""Reads the span of a row of a table, in seconds or in frames."""

from __future__ import annotations

import math

from datasets.lists.columns import FRAMES, SECONDS, read_seconds
from utils.errors import ListError

_MOST_DIGITS = 9  # of a frame's number
_MENDS = "tools/check_data.py names all such rows, and --fix mends or removes them"


def span_of_row(cells: list[str], columns: dict[str, int], *, where: str) -> tuple[float, float] | None:
    """Returns start and end of a row, in seconds or frames; None for a whole video. Raises ListError."""
    return (_frame_span if FRAMES[0] in columns else _span)(cells, columns, where=where)


def _span(cells: list[str], columns: dict[str, int], *, where: str) -> tuple[float, float] | None:
    texts = [cells[columns[key]].strip() if key in columns else "" for key in SECONDS]
    try:
        start, end = map(read_seconds, texts)
    except ValueError:
        start = end = math.nan
    if start is None and end is None:
        return None
    if start is None or end is None or math.isnan(start):
        raise ListError(f"{where}: start and end must be seconds, found {' and '.join(map(repr, texts))}; {_MENDS}")
    if not 0 <= start < end < math.inf:
        raise ListError(f"{where}: start {start:g} and end {end:g} are not an interval of seconds; {_MENDS}")
    return start, end


def _frame_span(cells: list[str], columns: dict[str, int], *, where: str) -> tuple[float, float] | None:
    texts = [cells[columns[key]].strip() for key in FRAMES]
    if not any(texts):
        return None
    if not all(text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS for text in texts):
        raise ListError(
            f"{where}: start_frame and end_frame must be whole numbers from 0 on, found "
            f"{' and '.join(map(repr, texts))}; {_MENDS}"
        )
    start, end = map(int, texts)
    if start >= end:
        raise ListError(
            f"{where}: start_frame {start} and end_frame {end} hold no frame; frames count from 0, and end_frame is "
            "the first one after the span"
        )
    return start, end
