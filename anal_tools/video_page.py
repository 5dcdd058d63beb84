"""Builds a page that plays videos next to the segments that a network has found in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from anal_tools.page import build_page
from anal_tools.page_values import rounded

SCRIPTS = ("core", "table", "lanes", "player", "start")
MOST_POINTS = 400  # of one curve


@dataclass(frozen=True)
class PageVideo:
    """Holds what the page shows of one video.

    name: of the video.
    source: its address, relative to the page; "" if no browser can play it, such as a folder of frames.
    seconds: length.
    segments: start and end in seconds, index of the class, and score, by time.
    curves: of each class that has segments, [seconds, score] over time.
    """

    name: str
    source: str
    seconds: float
    segments: Sequence[tuple[float, float, int, float]]
    curves: dict[int, list[list[float]]]


def render(videos: Sequence[PageVideo], classes: Sequence[str], *, title: str) -> str:
    """Returns the page as text."""
    data = {
        "classes": list(classes),
        "experiments": [{"name": "segments", "paths": [video.name for video in videos]}],
        "videos": [
            {
                "source": video.source,
                "seconds": video.seconds,
                "segments": video.segments,
                "curves": {str(label): curve for label, curve in video.curves.items()},
            }
            for video in videos
        ],
    }
    plain: dict[str, Any] = rounded(data)
    return build_page(title, plain, SCRIPTS, plays=True)


def address(video: Path, page: Path) -> str:
    """Returns the address of a video relative to the folder of a page, "" for a folder of frames."""
    if video.is_dir():
        return ""
    relative = os.path.relpath(video.resolve(), page.resolve().parent)
    return quote(Path(relative).as_posix())


def curve(times: np.ndarray, scores: np.ndarray) -> list[list[float]]:
    """Returns [seconds, score] of a class over time, at most MOST_POINTS; of several moments, the highest score."""
    step = max(1, -(-len(times) // MOST_POINTS))
    starts = np.arange(0, len(times), step)
    return np.stack([times[starts], np.maximum.reduceat(scores, starts)], axis=1).tolist()
