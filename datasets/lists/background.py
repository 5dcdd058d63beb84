"""Draws background: spans of videos that overlap with no span of a list, as examples of what belongs to no class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

_TRIES = 16
_DRAWS = 0xBAC46  # makes the draws independent of other ones with the same seed
Gap = tuple[int, int]


@dataclass(frozen=True)
class Background:
    """Says how much background a list gets.

    per_span: spans of background for each span of the list.
    hard: whether they lie next to that span, in place of anywhere in its video.
    label: their class; None for the empty set of classes.
    seed: with the number of the span in its list it decides all draws, whatever process makes them.
    """

    per_span: int
    hard: bool = False
    label: int | None = None
    seed: int = 0


def draw_background(
    spans: np.ndarray, videos: np.ndarray, lengths: np.ndarray, background: Background
) -> tuple[np.ndarray, np.ndarray]:
    """Draws spans of background that overlap with no span of their video.

    They are as long as the span that they are drawn for, or shorter where there is no such room, and no two are
    equal. A span gets no background where its video has no frame left over or, if it is hard, none next to the span.

    spans: int64 (n, 2), first frame and the one after the last; a whole video is one, too.
    videos: int64 (n,), which video each span is of.
    lengths: int64 (n,), frames of that video; 0 where there shall be no background.

    Returns int64 (m,), for which span each one is, and int64 (m, 2), their frames.
    """
    owners: list[int] = []
    drawn: list[Gap] = []
    order = np.argsort(videos, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(videos[order])) + 1):
        if not len(members) or not (length := int(lengths[members].max())):
            continue
        gaps, taken = _gaps(spans[members], length), set[Gap]()
        for record in members[lengths[members] > 0].tolist():
            start, end = spans[record].tolist()
            for number in range(background.per_span):
                rng = np.random.default_rng([background.seed, record, number, _DRAWS])
                draw = partial(_beside, gaps, start, end) if background.hard else partial(_anywhere, gaps, end - start)
                if (found := _new(draw, rng, taken)) is not None:
                    owners.append(record)
                    drawn.append(found)
    rows = np.argsort(owners, kind="stable")
    return np.array(owners, np.int64)[rows], np.array(drawn, np.int64).reshape(-1, 2)[rows]


def _new(draw: Callable[[np.random.Generator], Gap | None], rng: np.random.Generator, taken: set[Gap]) -> Gap | None:
    """Draws a span that is not taken yet, and takes it; None if there seems to be no other one."""
    for _ in range(_TRIES):
        if (found := draw(rng)) is None:
            return None
        if found not in taken:
            taken.add(found)
            return found
    return None


def _gaps(spans: np.ndarray, length: int) -> list[Gap]:
    """Returns the stretches of a video that are in no span, in their order."""
    gaps, free = [], 0
    for start, end in sorted(spans.tolist()):
        if start > free:
            gaps.append((free, min(start, length)))
        free = max(free, end)
    return [gap for gap in (*gaps, (free, length)) if gap[0] < gap[1]]


def _anywhere(gaps: list[Gap], size: int, rng: np.random.Generator) -> Gap | None:
    """Draws one of all places where `size` frames fit, evenly; the longest gap if they fit nowhere."""
    places = np.array([max(0, end - start - size + 1) for start, end in gaps], np.int64)
    if not places.sum():
        return max(gaps, key=lambda gap: gap[1] - gap[0], default=None)
    place = int(rng.integers(places.sum()))
    gap = int(np.searchsorted(np.cumsum(places), place, side="right"))
    start = gaps[gap][0] + place - int(places[:gap].sum())
    return start, start + size


def _beside(gaps: list[Gap], start: int, end: int, rng: np.random.Generator) -> Gap | None:
    """Draws the frames before or after a span, at most as many as it has; None where others touch it on both sides."""
    size = end - start
    sides = [(max(first, start - size), start) for first, stop in gaps if stop == start]
    sides += [(end, min(stop, end + size)) for first, stop in gaps if first == end]
    return sides[int(rng.integers(len(sides)))] if sides else None
