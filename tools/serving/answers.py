"""Answers an upload on the page of `tools.predict --serve`: whether it is a video, and its scores over time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from datasets.videos.container import opened
from datasets.windows import LONG
from tools.inference.inputs import VideoInput
from tools.inference.recognizer import Recognizer
from utils.errors import FrameError, UserError

PARTS = 5  # windows, without overlap, of a short video for networks that take segments
LINES = 8  # classes in the chart at most
Event = dict[str, Any]


def check_upload(path: Path) -> None:
    """Checks the content, not a name. Raises: UserError that says why this is not a video we accept."""
    try:
        with opened(path):
            pass
    except FrameError as error:
        raise UserError(str(error).removeprefix(f"{path}: ")) from None


def answer(
    recognizer: Recognizer,
    path: Path,
    *,
    topk: int,
    batch_size: int,
    window: float | None = None,
    step: float | None = None,
) -> Iterator[Event]:
    """Yields `progress` events while windows slide over the video, then one `answer`.

    A short video gets the classes of its evaluation, a long one the mean over its windows. Raises: UserError.
    """
    video = VideoInput(path)
    assert video.num_frames is not None
    length = video.num_frames / video.fps
    asked = window is not None or step is not None
    whole = None if asked or length >= LONG else recognizer.predict(video, topk=topk, batch_size=batch_size)
    if not asked:
        window = _window(recognizer, length)
    video = VideoInput(path)
    starts, ends, rows = [], [], []
    for found in recognizer.windows(video, topk=topk, batch_size=batch_size, window=window, step=step):
        starts.append(round(found.start, 3))
        ends.append(round(found.end, 3))
        rows.append(found.scores.astype(np.float16))  # three hours of 400 classes stay below 10 MB
        yield {"event": "progress", "seconds": found.end, "of": length}
    table = np.stack(rows)
    mean = table.mean(axis=0, dtype=np.float64)
    top = recognizer.top(mean, topk) if whole is None else whole.top
    yield {
        "event": "answer",
        "seconds": round(ends[-1] + 1 / video.fps, 3),
        "top": [found.as_dict() for found in top],
        "basis": f"mean over {len(rows)} windows" if whole is None else "as its evaluation would score it",
        "windows": {"start": starts, "end": ends, "best": [recognizer.name(int(row.argmax())) for row in table]},
        "lines": [
            {"name": recognizer.name(label), "scores": table[:, label].astype(float).round(4).tolist()}
            for label in _leading(recognizer, table, mean)
        ],
        "warnings": list(dict.fromkeys([*(whole.warnings if whole else []), *video.warnings])),
    }


def _window(recognizer: Recognizer, length: float) -> float | None:
    """Returns the seconds of a window where nobody asked for any; None is the default of `Recognizer.windows`.

    A short video would get a single window from networks that take segments; here it gets PARTS of them.
    """
    if recognizer.protocol.rule.uses_stride or length >= LONG:
        return None
    return min(10.0, max(1.0, length / PARTS))


def _leading(recognizer: Recognizer, table: np.ndarray, mean: np.ndarray) -> list[int]:
    """Returns the classes for the chart: the best ones overall, and those that are the best in most windows."""
    winners, counts = np.unique(table.argmax(axis=1), return_counts=True)
    often = [int(winners[index]) for index in np.argsort(-counts, kind="stable")]
    overall = [found.label for found in recognizer.top(mean, LINES)]
    return list(dict.fromkeys([*overall[: LINES // 2], *often, *overall]))[:LINES]
