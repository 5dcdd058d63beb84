"""Finds the shots of a video, and what moves from one frame to the next, for tools/make_pretext.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from datasets.videos.video import Video

LOOK = 64, 48  # width and height of the small picture that is looked at
CELLS = 16, 12  # columns and rows in which movement is kept: 17 MB for an hour of video
LEVELS = 16  # of each colour, in the histograms of the four quarters of the picture
# A cut changes the colours at once. Measured on real footage: cuts from 0.34 on, at least four times as much as any of
# the frames around them; movement up to 0.16, and never more than 1.8 times as much.
LEAST_JUMP, TIMES_USUAL, AROUND = 0.22, 2.5, 6


@dataclass(frozen=True)
class Look:
    """Holds what one look at a video has found.

    source: the file.
    height, width: of its frames in pixels.
    shots: the first frame of each shot, and the one after its last.
    changes: uint8 (frames, rows, columns of CELLS), how many grey levels each frame differs from the next one.
    errors: what is wrong with the file; shots and changes are then not to be used.
    """

    source: Path
    height: int
    width: int
    shots: Sequence[tuple[int, int]]
    changes: np.ndarray
    errors: Sequence[str]

    def motion(self, frame: int, box: tuple[int, int, int]) -> float:
        """Returns the mean change from `frame` to the next one in a box: left, top and side in pixels."""
        left, top, side = box
        columns, rows = CELLS[0] / self.width, CELLS[1] / self.height
        part = self.changes[
            frame,
            int(top * rows) : max(round((top + side) * rows), int(top * rows) + 1),
            int(left * columns) : max(round((left + side) * columns), int(left * columns) + 1),
        ]
        return float(part.mean())


def look_at(source: Path) -> Look:
    """Decodes a video from its first frame to its last. Raises: FrameError if it cannot be opened."""
    cv2.setNumThreads(0)  # there is one process per core already
    video = Video(source)
    height = width = 0
    jumps: list[float] = []
    changes: list[np.ndarray] = []
    before: tuple[np.ndarray, np.ndarray] | None = None
    for _, picture in video.frames():
        height, width = picture.shape[:2]
        small = cv2.resize(picture, LOOK, interpolation=cv2.INTER_AREA)
        grey, colours = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), histograms(small)
        if before is not None:
            changes.append(cv2.resize(cv2.absdiff(grey, before[0]), CELLS, interpolation=cv2.INTER_AREA))
            jumps.append(float(np.abs(colours - before[1]).sum(-1).mean() / 2))
        before = grey, colours
    count = len(changes) + (before is not None)
    bounds = [0, *(place + 1 for place in cuts(np.array(jumps))), count]
    changes.append(np.zeros(CELLS[::-1], np.uint8))
    return Look(source, height, width, list(pairwise(bounds)), np.stack(changes), video.errors)


def histograms(small: np.ndarray) -> np.ndarray:
    """Returns the shares of the levels of each colour in the four quarters of an RGB picture, float (12, LEVELS)."""
    quarters = [half for rows in np.array_split(small, 2, 0) for half in np.array_split(rows, 2, 1)]
    counts = [
        cv2.calcHist([np.ascontiguousarray(quarter)], [channel], None, [LEVELS], [0, 256]).ravel()
        for quarter in quarters
        for channel in range(3)
    ]
    return np.array([count / count.sum() for count in counts])


def cuts(jumps: np.ndarray) -> list[int]:
    """Returns the places of cuts in the differences (0 to 1) between neighbouring frames, float (frames - 1,).

    A cut is a large difference that the usual one around it does not explain, as fast movement would.
    """
    found = []
    for place in np.flatnonzero(jumps >= LEAST_JUMP).tolist():
        around = np.concatenate([jumps[max(place - AROUND, 0) : place], jumps[place + 1 : place + 1 + AROUND]])
        if not len(around) or jumps[place] >= TIMES_USUAL * np.median(around):
            found.append(place)
    return found
