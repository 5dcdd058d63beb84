"""Defines the tasks, one class per video, a set of classes, or one per moment, and what follows: loss, scores, numbers.

A label is a class, int64, or a multi-hot row, int8 (K,); it is -1, or a row of -1, where the truth is unknown. Networks
return logits and know no task. Everything else asks `task_of(common)` or, given labels, `task_for(labels)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from utils.config.schema import SEGMENT, Common
from utils.scoring import average_precision as ap
from utils.scoring.label_sets import LabelSets, label_sets, labels_from_text, labels_to_text
from utils.scoring.losses import BinaryCrossEntropy, LabelSmoothCrossEntropy, class_factors
from utils.scoring.metrics import mean_class_accuracy, topk_accuracy
from utils.scoring.segments.moments import UNKNOWN, PointsLoss, StagesLoss, class_of_moments, spans_of_points
from utils.scoring.segments.reading import LEAST, Read, read_moments, read_points

SMALLEST = float(np.finfo(np.float32).tiny)  # smaller scores have no meaningful logarithm


class Task(ABC):
    """Says how videos with one kind of label are trained and scored. Stateless.

    Attributes:
        scores: name of the function that turns logits into scores.
        train_numbers: numbers of training, for the best class and for the five best: name in metrics.jsonl -> title in
            log.txt.
        val_numbers: numbers of an evaluation, percentages, in the same way; the first one chooses the best checkpoint.
        view_numbers: numbers of an evaluation that count every view by itself.
        charted: names of the numbers that go to events/.
    """

    scores: ClassVar[str]
    train_numbers: ClassVar[Mapping[str, str]]
    val_numbers: ClassVar[Mapping[str, str]]
    view_numbers: ClassVar[Mapping[str, str]]
    charted: ClassVar[Sequence[str]]

    @property
    def best_by(self) -> str:
        """The title of the number that chooses the best checkpoint."""
        return next(iter(self.val_numbers.values()))

    @abstractmethod
    def criterion(self, common: Common, labels: Any) -> nn.Module:
        """Returns the loss of a config: logits (B, K) and B labels -> (B,). labels: those of the training list."""

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Turns logits (..., K) into scores in 0..1."""

    @abstractmethod
    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        """Recovers logits from scores (..., K), up to what `probabilities` discards."""

    @abstractmethod
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns float32 (2, B): whether the best class is right, and whether one of the min(5, K) best is."""

    @abstractmethod
    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """Returns the mean loss of scores (N, K) over labelled videos, without smoothing and weights; nan if none."""

    @abstractmethod
    def known(self, labels: np.ndarray) -> np.ndarray:
        """Returns which videos have a known label, bool (N,)."""

    @abstractmethod
    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        """Returns the `val_numbers` of scores (N, K), percentages in 0..100; nan if no video has a label."""

    @abstractmethod
    def made_up(self, count: int, num_class: int) -> np.ndarray | LabelSets:
        """Returns labels for `count` videos of noise."""

    @abstractmethod
    def best(self, scores: Any, labels: Any) -> float:
        """Returns the first of `val_numbers` alone."""

    @abstractmethod
    def note(self, labels: np.ndarray) -> str:
        """Returns what a protocol must say about the labels beyond the number of videos; "" if nothing."""

    @abstractmethod
    def text(self, label: Any) -> str:
        """Returns a label as lists and reference_result.txt write it."""

    @abstractmethod
    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        """Returns labels (N,) or (N, K) from the texts that `text` makes. Raises ValueError for anything else."""


class SingleLabel(Task):
    """Gives every video one class: cross entropy, softmax, top-k accuracy. Labels are int (N,)."""

    scores: ClassVar = "softmax"
    train_numbers: ClassVar[Mapping[str, str]] = {"acc1": "Prec@1", "acc5": "Prec@5"}
    val_numbers: ClassVar = {"acc1": "Prec@1", "acc5": "Prec@5", "mean_class": "mean class"}
    view_numbers: ClassVar = {"clip_acc1": "Clip Acc@1", "clip_acc5": "Clip Acc@5"}
    charted: ClassVar[Sequence[str]] = ("acc1", "acc5")

    @override
    def criterion(self, common: Common, labels: np.ndarray) -> nn.Module:
        counts = np.bincount(labels, minlength=common.model.num_class)
        return LabelSmoothCrossEntropy(common.label_smooth, class_factors(common, counts))

    @override
    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    @override
    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        logs: np.ndarray = np.log(np.maximum(scores, SMALLEST))
        return logs

    @override
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        found = _best(logits) == labels[:, None]
        return torch.stack([found[:, 0], found.any(1)]).float()

    @override
    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        known = self.known(labels)
        nats = np.log(np.maximum(scores[known, labels[known]].astype(np.float64), SMALLEST))
        return float(0.0 - nats.mean()) if known.any() else math.nan

    @override
    def known(self, labels: np.ndarray) -> np.ndarray:
        return np.asarray(labels >= 0)

    @override
    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        return {
            "acc1": topk_accuracy(scores, labels),
            "acc5": topk_accuracy(scores, labels, k=5),
            "mean_class": mean_class_accuracy(scores, labels),
        }

    @override
    def best(self, scores: Any, labels: Any) -> float:
        return topk_accuracy(scores, labels)

    @override
    def made_up(self, count: int, num_class: int) -> np.ndarray:
        return np.arange(count) % num_class

    @override
    def note(self, labels: np.ndarray) -> str:
        return ""

    @override
    def text(self, label: Any) -> str:
        return str(int(label))

    @override
    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        return np.array([int(text) for text in texts], np.int64)


class MultiLabel(Task):
    """Gives every video a set of classes: binary cross entropy, a sigmoid per class, mAP.

    Labels are int8 (N, K), or LabelSets.
    """

    scores: ClassVar = "sigmoid"
    train_numbers: ClassVar = {"hit1": "Hit@1", "hit5": "Hit@5"}
    val_numbers: ClassVar = {"mAP": "mAP", "hit1": "Hit@1", "hit5": "Hit@5"}
    view_numbers: ClassVar = {"clip_hit1": "Clip Hit@1", "clip_hit5": "Clip Hit@5"}
    charted: ClassVar = ("mAP", "hit1", "hit5")

    @override
    def criterion(self, common: Common, labels: LabelSets) -> nn.Module:
        counts = np.bincount(labels.flat, minlength=common.model.num_class)
        return BinaryCrossEntropy(common.label_smooth, class_factors(common, counts))

    @override
    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    @override
    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        logs: np.ndarray = np.log(np.maximum(scores, SMALLEST)) - np.log(np.maximum(1.0 - scores, SMALLEST))
        return logs

    @override
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        found = labels.gather(1, _best(logits)) > 0
        return torch.stack([found[:, 0], found.any(1)]).float()

    @override
    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        known = self.known(labels)
        values, shown = scores[known].astype(np.float64), labels[known] > 0
        nats = np.log(np.maximum(np.where(shown, values, 1.0 - values), SMALLEST))
        return float(0.0 - nats.mean()) if known.any() else math.nan

    @override
    def known(self, labels: np.ndarray) -> np.ndarray:
        return ap.known_rows(labels)

    @override
    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        return {
            "mAP": ap.mean_average_precision(scores, labels),
            "hit1": ap.hit_rate(scores, labels),
            "hit5": ap.hit_rate(scores, labels, k=5),
        }

    @override
    def best(self, scores: Any, labels: Any) -> float:
        return ap.mean_average_precision(scores, labels)

    @override
    def made_up(self, count: int, num_class: int) -> LabelSets:
        return label_sets(({index % num_class, (index + 1) % num_class} for index in range(count)), num_class)

    @override
    def note(self, labels: np.ndarray) -> str:
        shown = int((labels > 0).any(0).sum())
        return "" if shown == labels.shape[1] else f"{shown} of {labels.shape[1]} classes shown"

    @override
    def text(self, label: Any) -> str:
        return labels_to_text(np.flatnonzero(label)) if min(label) >= 0 else "-1"

    @override
    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        rows = np.zeros((len(texts), num_class), np.int8)
        for row, text in zip(rows, texts, strict=True):
            row[slice(None) if text == "-1" else labels_from_text(text)] = -1 if text == "-1" else 1
        return rows


class Moments(SingleLabel):
    """Gives every moment of a whole video one class or the background, which is the last one.

    Labels in training are those of utils.scoring.segments.moments, and logits those of every stage, (B, S, T, K + 1).
    Segments follow from the scores of moments, and `val_numbers` are of both (utils/scoring/segment_evaluation.py).
    """

    train_numbers: ClassVar[Mapping[str, str]] = {"frame_acc": "Frame acc"}
    val_numbers: ClassVar = {"mAP": "mAP@0.5", "f1_50": "F1@50", "frame_acc": "Frame acc"}
    view_numbers: ClassVar = {}
    charted: ClassVar[Sequence[str]] = ("mAP", "f1_50", "frame_acc")

    @override
    def criterion(self, common: Common, labels: np.ndarray) -> nn.Module:
        return StagesLoss()

    @override
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns float32 (1, B): the share of the moments whose best class is right."""
        truth = class_of_moments(labels, logits.shape[2])
        return _share(logits[:, -1].argmax(-1) == truth, truth != UNKNOWN)

    def read(self, said: Tensor, video: Any) -> Read:
        """Returns scores over time, float32 (T, K + 1) in 0..1, and segments, from the output for one video.

        video: its times (T,) and seconds, as datasets.whole_videos.VideoFeatures has them.
        """
        scores = said[-1, : len(video.times)].float().softmax(-1).cpu().numpy()
        return read_moments(scores, video.times, seconds=video.seconds)


class Points(Moments):
    """Gives points of a whole video classes, each with a score of its own, and spans: points (B, P, K + 4)."""

    scores: ClassVar = "sigmoid"
    train_numbers: ClassVar[Mapping[str, str]] = {"point_acc": "Point acc"}

    @override
    def criterion(self, common: Common, labels: np.ndarray) -> nn.Module:
        return PointsLoss()

    @override
    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    @override
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns float32 (1, B): the share of the points that shall find a span whose best class is right."""
        truth, _ = spans_of_points(logits, labels)
        return _share(logits[..., :-4].argmax(-1) == truth, truth != UNKNOWN)

    @override
    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        return super().loss(np.maximum(scores, LEAST), labels)  # lower scores are not looked at

    @override
    def read(self, said: Tensor, video: Any) -> Read:
        points = said[~said[:, -2].isnan()].float()
        num_class = points.shape[1] - 4
        values = torch.cat([self.probabilities(points[:, :num_class]), points[:, num_class:]], 1).cpu().numpy()
        return read_points(values, video.times, seconds_at=video.seconds_at, num_class=num_class)


def _share(right: Tensor, known: Tensor) -> Tensor:
    """Returns the share of what is known that is right, float32 (1, B); 0 where nothing is."""
    return ((right & known).sum(1) / known.sum(1).clamp(min=1))[None].float()


def _best(logits: Tensor) -> Tensor:
    return logits.float().topk(min(5, logits.shape[1]), dim=1).indices


SINGLE_LABEL, MULTI_LABEL, MOMENTS, POINTS = SingleLabel(), MultiLabel(), Moments(), Points()


def in_words(label: Any, class_names: Sequence[str] | None) -> str:
    """Returns the name of a label's class, or of its classes, separated by `; `; indices if names are unknown."""
    classes = np.flatnonzero(np.asarray(label) > 0).tolist() if np.ndim(label) else [int(label)]
    return "; ".join(class_names[one] if class_names and one >= 0 else str(one) for one in classes) or "no class"


def task_of(common: Common) -> Task:
    """Returns the task that a config sets."""
    if common.model.type == SEGMENT:
        return POINTS if (common.model.model_extra or {}).get("head") == "actionformer" else MOMENTS
    return MULTI_LABEL if common.multi_label else SINGLE_LABEL


def task_for(labels: Any) -> Task:
    """Returns the task that labels imply: (N,) one class per video, (N, K) sets of classes."""
    return MULTI_LABEL if np.ndim(labels) == 2 else SINGLE_LABEL
