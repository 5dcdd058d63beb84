"""Holds what one network said about the moments of whole videos, the segments that follow, and the numbers of both."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import atomic_write
from utils.scoring.bootstrap import mean_of_classes
from utils.scoring.segments.detection import average_precisions
from utils.scoring.segments.matching import match_by_overlap
from utils.scoring.segments.timelines import score_timelines, timeline_of_frames
from utils.scoring.task import MOMENTS, Task
from utils.segments.table import Segments, joined

OVERLAP = 0.5
ANSWER, TRUTH = "reference_segments.json", "reference_truth.json"


@dataclass(frozen=True, eq=False)
class ScoredVideo:
    """The scores of one video over time, and the truth.

    times: float64 (T,), the middle of each window in seconds. seconds: length of the video.
    scores: float32 (T, K + 1), in 0..1; the last class is the background. labels: int64 (T,).
    segments, truth: the answers, and the true segments; their video does not matter.
    """

    path: str
    times: np.ndarray
    seconds: float
    scores: np.ndarray
    labels: np.ndarray
    segments: Segments
    truth: Segments


@dataclass(frozen=True, eq=False)
class SegmentEvaluation:
    """The scores of N videos over time, in the order of their list, and the truth about them.

    name: what scored them, for messages.
    class_names: K names; None if nobody knows them.
    protocol: how the scores came about.
    faults: why videos are missing, one text for each that could not be read.
    view_numbers: none. task: MOMENTS or POINTS.
    """

    name: str
    videos: Sequence[ScoredVideo]
    class_names: list[str] | None = None
    protocol: str = ""
    faults: list[str] = field(default_factory=list)
    view_numbers: Mapping[str, float] = field(default_factory=dict)
    task: Task = MOMENTS

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def scores(self) -> np.ndarray:
        """The scores of all moments of all videos, float32 (moments, K + 1)."""
        return np.concatenate([video.scores for video in self.videos])

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The numbers of `Moments.val_numbers`, percentages in 0..100; nan without a true segment."""
        timelines = score_timelines(
            [timeline_of_frames(video.scores.argmax(1)) for video in self.videos],
            [timeline_of_frames(video.labels) for video in self.videos],
            background=(self._num_class,),
            overlaps=(OVERLAP,),
        )
        values = self._mean_average_precision(), timelines.f1[OVERLAP][0], timelines.accuracy[0]
        return dict(zip(self.task.val_numbers, values, strict=True))

    @property
    def best_by(self) -> float:
        """The number that chooses the best checkpoint; 0 without a true segment."""
        first = next(iter(self.numbers.values()))
        return 0.0 if math.isnan(first) else first

    @cached_property
    def loss(self) -> float:
        """Mean cross entropy over all moments."""
        return self.task.loss(self.scores, np.concatenate([video.labels for video in self.videos]))

    @property
    def _num_class(self) -> int:
        return self.videos[0].scores.shape[1] - 1

    def _mean_average_precision(self) -> float:
        answers, truths = self._table("segments"), self._table("truth")
        found = average_precisions(
            answers,
            truths,
            match_by_overlap(answers, truths, [OVERLAP]),
            num_class=self._num_class,
            counts=np.ones((len(self), 1), np.int32),
        )
        return float(mean_of_classes(found[:, 0])[0])

    def _table(self, name: str) -> Segments:
        tables = [getattr(video, name) for video in self.videos]
        return joined(
            Segments(np.full(len(one), place), one.start, one.end, one.label, one.score)
            for place, one in enumerate(tables)
        )

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes the answers and the truth as ActivityNet's JSON, which tools.score_segments takes.

        Raises: UserError if a file cannot be written.
        """
        names = self.class_names or [str(label) for label in range(self._num_class)]
        answers = {video.path: _plain(video.segments, names, scored=True) for video in self.videos}
        database = {
            video.path: {
                "duration": round(video.seconds, 3),
                "subset": "validation",
                "annotations": _plain(video.truth, names, scored=False),
            }
            for video in self.videos
        }
        files = {
            Path(folder) / ANSWER: {"version": self.protocol, "results": answers, "external_data": {}},
            Path(folder) / TRUTH: {"version": self.protocol, "database": database},
        }
        for file, content in files.items():
            try:
                with atomic_write(file, "w") as opened:
                    json.dump(content, opened, ensure_ascii=False)
            except OSError as error:
                raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
        return list(files)


def _plain(segments: Segments, names: Sequence[str], *, scored: bool) -> list[dict[str, Any]]:
    columns = (getattr(segments, column).tolist() for column in ("start", "end", "label", "score"))
    return [
        {"segment": [round(start, 3), round(end, 3)], "label": names[label]}
        | ({"score": round(score, 6)} if scored else {})
        for start, end, label, score in zip(*columns, strict=True)
    ]
