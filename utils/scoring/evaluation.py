"""Holds what one network said about the videos of a list, and the numbers that follow from it.

The files that an evaluation leaves are in result_files.py, the words of the log in utils/run/log_lines.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from utils.scoring.metrics import top_classes
from utils.scoring.task import Task, task_for


@dataclass(frozen=True)
class Evaluation:
    """The scores of N videos, in the order of their list, and the truth about them.

    name: what scored them, for messages: a checkpoint, a folder, a list.
    paths: N paths as the list has them.
    labels: int64 (N,), or multi-hot int8 (N, K); -1 where the truth is unknown.
    scores: float32 (N, K) in 0..1; None for the bare list, and where only the text file of an evaluation is left.
    class_names: K names; None if nobody knows them.
    protocol: how the scores came about; "" if unknown.
    view_numbers: accuracies of single views, in percent, by `Task.view_numbers`; empty where a video has one view.
    faults: why videos are missing, one text for each that could not be read.
    read: predicted classes and their scores, of an evaluation of which only the text file is left.
    """

    name: str
    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray | None = None
    class_names: list[str] | None = None
    protocol: str = ""
    view_numbers: Mapping[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    read: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def task(self) -> Task:
        """The task that the labels imply: one class per video, or a set of classes."""
        return task_for(self.labels)

    @property
    def labelled(self) -> np.ndarray:
        """The videos with a known label, bool (N,)."""
        return self.task.known(self.labels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class with the best score, int64 (N,)."""
        if self.read is not None:
            return self.read[0]
        return top_classes(self._scores, k=1)[:, 0] if len(self) else np.empty(0, np.int64)

    @cached_property
    def top_scores(self) -> np.ndarray:
        """The score of the predicted class, float64 (N,); two decimals if only the text file is left."""
        if self.read is not None:
            return self.read[1]
        return self._scores[np.arange(len(self)), self.predicted].astype(np.float64)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The numbers of `Task.val_numbers`, percentages in 0..100; nan when no video has a label."""
        return self.task.measure(self._scores, self.labels)

    @property
    def best_by(self) -> float:
        """The number that chooses the best checkpoint."""
        return next(iter(self.numbers.values()))

    @cached_property
    def loss(self) -> float:
        """Mean loss over the videos that have a label; nan without any."""
        return self.task.loss(self._scores, self.labels)

    @property
    def _scores(self) -> np.ndarray:
        if self.scores is None:
            raise ValueError(f"{self.name} has no scores")
        return self.scores
