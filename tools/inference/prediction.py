"""Holds the answers of a network, with the names of the classes: for a video, for a window, for a frame of a stream."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils.segments.table import Segments


@dataclass(frozen=True, slots=True)  # a long video has tens of thousands of them
class ClassScore:
    """One class and its score.

    label: index of the class.
    name: its name, `class 3` where the checkpoint has no names.
    score: in 0..1; a probability, or with multi_label a sigmoid.
    """

    label: int
    name: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {"class": self.label, "name": self.name, "score": round(self.score, 6)}


@dataclass(frozen=True, eq=False, slots=True)
class WindowPrediction:
    """The answer for one window of a video.

    start, end: seconds of its first and last frame.
    top: the best classes, best first.
    scores: float32 (K,), all classes.
    """

    start: float
    end: float
    top: list[ClassScore]
    scores: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, without the scores of all classes."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "top": [found.as_dict() for found in self.top],
        }


@dataclass(frozen=True, eq=False)
class Timeline:
    """The scores of a whole video over time.

    times: float64 (T,), seconds of the middle of each window, rising.
    scores: float32 (T, K).
    seconds: length of the video.
    num_frames: frames that could be decoded.
    fps: frames per second, on average.
    windows: how long the windows are, and why.
    warnings: what was wrong with the file.
    answers: the segments, of a network that finds them by their ends; None if they follow from the scores.
    """

    times: np.ndarray
    scores: np.ndarray
    seconds: float
    num_frames: int
    fps: float
    windows: str
    warnings: list[str]
    answers: Segments | None = None


@dataclass(frozen=True, eq=False)
class FramePrediction:
    """The answer after one frame of a stream.

    time: seconds since the first frame.
    top: the best classes over the last frames, best first.
    scores: float32 (K,), all classes.
    latency: seconds of computing from the frame's pixels to its logits.
    """

    time: float
    top: list[ClassScore]
    scores: np.ndarray
    latency: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one video.

    path: the video.
    seconds: its length.
    num_frames: frames that could be decoded.
    top: the best classes, best first.
    scores: float32 (K,), all classes; the mean over the timeline if there is one.
    windows: how long the windows of the timeline are, and why; "" without one.
    timeline: a prediction per window; empty for a short video, which is scored as its evaluation scores it.
    warnings: what was wrong with the file.
    """

    path: str
    seconds: float
    num_frames: int
    top: list[ClassScore]
    scores: np.ndarray
    timeline: list[WindowPrediction] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    windows: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, without the scores of all classes."""
        return {
            "path": self.path,
            "seconds": round(self.seconds, 3),
            "frames": self.num_frames,
            "top": [found.as_dict() for found in self.top],
            "windows": self.windows,
            "timeline": [window.as_dict() for window in self.timeline],
            "warnings": self.warnings,
        }


def collected(windows: Iterable[tuple[float, float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Joins windows, of which each is its start, its end and a row (...), to float64 (n, 2) and float32 (n, ...).

    An object for each of many windows would take more, and would lie in memory between pictures that are freed.
    """
    shape: tuple[int, ...] = ()
    ends, rows = array("d"), array("f")
    for start, end, row in windows:
        ends.extend((start, end))
        rows.frombytes(row.astype(np.float32).tobytes())
        shape = row.shape
    joined = np.frombuffer(ends, np.float64).reshape(-1, 2)
    return joined, np.frombuffer(rows, np.float32).reshape(len(joined), *shape)
