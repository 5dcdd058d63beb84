"""What a video's truth is, one class or a set of them, and all that follows: loss, scores, what is counted and printed.

A target is a class, int64, or a multi-hot row, int8 (K,); -1, or a row of -1, where it is unknown. Networks return
logits and know nothing of this; the rest asks `task_of(common)` or, given numbers, `task_for(labels)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from utils.config.schema import Common
from utils.scoring import average_precision as ap
from utils.scoring.label_sets import LabelSets, label_sets, labels_from_text, labels_to_text
from utils.scoring.losses import BinaryCrossEntropy, LabelSmoothCrossEntropy, class_factors
from utils.scoring.metrics import mean_class_accuracy, topk_accuracy

SMALLEST = float(np.finfo(np.float32).tiny)  # below it the logarithm of a score says nothing


class Task(ABC):
    """Of one kind; stateless.

    Attributes:
        scores: how logits become scores, in a word.
        train_numbers: what training counts for the best class and for the five best, in metrics.jsonl: in log.txt.
        val_numbers: the same for an evaluation, percentages; the first one chooses the best checkpoint.
        view_numbers: what an evaluation counts for each view by itself, `hits` of it.
        charted: which of them go to events/.
    """

    scores: ClassVar[str]
    train_numbers: ClassVar[Mapping[str, str]]
    val_numbers: ClassVar[Mapping[str, str]]
    view_numbers: ClassVar[Mapping[str, str]]
    charted: ClassVar[Sequence[str]]

    @property
    def best_by(self) -> str:
        """Title of the number that chooses the best checkpoint."""
        return next(iter(self.val_numbers.values()))

    @abstractmethod
    def criterion(self, common: Common, labels: Any) -> nn.Module:
        """The loss of a config, (B, K) logits and B targets -> (B,); labels: those of the training list."""

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """(..., K) logits -> scores in 0..1."""

    @abstractmethod
    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        """Logits, up to what `probabilities` forgets, of scores (..., K)."""

    @abstractmethod
    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float32 (2, B): whether the best class is right, and whether one of the min(5, K) best is."""

    @abstractmethod
    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """Mean loss of scores (N, K), without smoothing and weights, over the videos with a truth; nan without any."""

    @abstractmethod
    def known(self, labels: np.ndarray) -> np.ndarray:
        """Which videos have a truth, bool (N,)."""

    @abstractmethod
    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        """`val_numbers` of scores (N, K), percentages 0..100; nan where no video has a truth."""

    @abstractmethod
    def made_up(self, count: int, num_class: int) -> np.ndarray | LabelSets:
        """Task for so many videos of noise."""

    @abstractmethod
    def best(self, scores: Any, labels: Any) -> float:
        """The first of `val_numbers` alone."""

    @abstractmethod
    def about(self, labels: np.ndarray) -> str:
        """What a protocol has to say of the truth beyond the number of videos; "" if nothing."""

    @abstractmethod
    def text(self, target: Any) -> str:
        """A target as lists and reference_result.txt have it."""

    @abstractmethod
    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        """Task (N,) or (N, K) from what `text` made. Raises ValueError for anything else."""


class SingleLabel(Task):
    """One class per video: cross entropy, softmax, top-k accuracy. Labels int (N,)."""

    scores: ClassVar = "softmax"
    train_numbers: ClassVar = {"acc1": "Prec@1", "acc5": "Prec@5"}
    val_numbers: ClassVar = {"acc1": "Prec@1", "acc5": "Prec@5", "mean_class": "mean class"}
    view_numbers: ClassVar = {"clip_acc1": "Clip Acc@1", "clip_acc5": "Clip Acc@5"}
    charted: ClassVar = ("acc1", "acc5")

    def criterion(self, common: Common, labels: np.ndarray) -> nn.Module:
        """Cross entropy, smoothed and weighted as the config says."""
        counts = np.bincount(labels, minlength=common.model.num_class)
        return LabelSmoothCrossEntropy(common.label_smooth, class_factors(common, counts))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the classes."""
        return logits.softmax(-1)

    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        """Logarithms: a softmax forgets a constant per video."""
        logs: np.ndarray = np.log(np.maximum(scores, SMALLEST))
        return logs

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether the class is the best, and among the best."""
        found = _best(logits) == labels[:, None]
        return torch.stack([found[:, 0], found.any(1)]).float()

    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """Cross entropy."""
        known = self.known(labels)
        nats = np.log(np.maximum(scores[known, labels[known]].astype(np.float64), SMALLEST))
        return float(0.0 - nats.mean()) if known.any() else math.nan

    def known(self, labels: np.ndarray) -> np.ndarray:
        """Those with a class."""
        return np.asarray(labels >= 0)

    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        """Top-1, top-5 and mean class accuracy."""
        return {
            "acc1": topk_accuracy(scores, labels),
            "acc5": topk_accuracy(scores, labels, k=5),
            "mean_class": mean_class_accuracy(scores, labels),
        }

    def best(self, scores: Any, labels: Any) -> float:
        """Top-1."""
        return topk_accuracy(scores, labels)

    def made_up(self, count: int, num_class: int) -> np.ndarray:
        """One class after the other."""
        return np.arange(count) % num_class

    def about(self, labels: np.ndarray) -> str:
        """Nothing."""
        return ""

    def text(self, target: Any) -> str:
        """The class."""
        return str(int(target))

    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        """int64 (N,)."""
        return np.array([int(text) for text in texts], np.int64)


class MultiLabel(Task):
    """A set of classes per video: binary cross entropy, a sigmoid per class, mAP. Labels int8 (N, K), or LabelSets."""

    scores: ClassVar = "sigmoid"
    train_numbers: ClassVar = {"hit1": "Hit@1", "hit5": "Hit@5"}
    val_numbers: ClassVar = {"mAP": "mAP", "hit1": "Hit@1", "hit5": "Hit@5"}
    view_numbers: ClassVar = {"clip_hit1": "Clip Hit@1", "clip_hit5": "Clip Hit@5"}
    charted: ClassVar = ("mAP", "hit1", "hit5")

    def criterion(self, common: Common, labels: LabelSets) -> nn.Module:
        """Binary cross entropy, smoothed and weighted as the config says."""
        counts = np.bincount(labels.flat, minlength=common.model.num_class)
        return BinaryCrossEntropy(common.label_smooth, class_factors(common, counts))

    def probabilities(self, logits: Tensor) -> Tensor:
        """A sigmoid for each class."""
        return logits.sigmoid()

    def to_logits(self, scores: np.ndarray) -> np.ndarray:
        """Logarithms of the odds."""
        logs: np.ndarray = np.log(np.maximum(scores, SMALLEST)) - np.log(np.maximum(1.0 - scores, SMALLEST))
        return logs

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether the best class, and any of the best, is shown; never where none is."""
        found = labels.gather(1, _best(logits)) > 0
        return torch.stack([found[:, 0], found.any(1)]).float()

    def loss(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """Binary cross entropy, mean over the classes."""
        known = self.known(labels)
        values, shown = scores[known].astype(np.float64), labels[known] > 0
        nats = np.log(np.maximum(np.where(shown, values, 1.0 - values), SMALLEST))
        return float(0.0 - nats.mean()) if known.any() else math.nan

    def known(self, labels: np.ndarray) -> np.ndarray:
        """Those with a set, be it empty."""
        return ap.known_rows(labels)

    def measure(self, scores: Any, labels: Any) -> dict[str, float]:
        """mAP and hit rates."""
        return {
            "mAP": ap.mean_average_precision(scores, labels),
            "hit1": ap.hit_rate(scores, labels),
            "hit5": ap.hit_rate(scores, labels, k=5),
        }

    def best(self, scores: Any, labels: Any) -> float:
        """mAP."""
        return ap.mean_average_precision(scores, labels)

    def made_up(self, count: int, num_class: int) -> LabelSets:
        """Each class with the next one."""
        return label_sets(({index % num_class, (index + 1) % num_class} for index in range(count)), num_class)

    def about(self, labels: np.ndarray) -> str:
        """How many classes the mAP is a mean over, if not over all."""
        shown = int((labels > 0).any(0).sum())
        return "" if shown == labels.shape[1] else f"{shown} of {labels.shape[1]} classes shown"

    def text(self, target: Any) -> str:
        """`3;7;12`, `-` for none."""
        return labels_to_text(np.flatnonzero(target)) if min(target) >= 0 else "-1"

    def from_texts(self, texts: Sequence[str], num_class: int) -> np.ndarray:
        """int8 (N, K)."""
        rows = np.zeros((len(texts), num_class), np.int8)
        for row, text in zip(rows, texts, strict=True):
            row[slice(None) if text == "-1" else labels_from_text(text)] = -1 if text == "-1" else 1
        return rows


def _best(logits: Tensor) -> Tensor:
    return logits.float().topk(min(5, logits.shape[1]), dim=1).indices


SINGLE_LABEL, MULTI_LABEL = SingleLabel(), MultiLabel()


def in_words(target: Any, class_names: Sequence[str] | None) -> str:
    """A target's class, or its classes with `; ` between; their indices where nobody knows the names."""
    classes = np.flatnonzero(np.asarray(target) > 0).tolist() if np.ndim(target) else [int(target)]
    return "; ".join(class_names[one] if class_names and one >= 0 else str(one) for one in classes) or "no class"


def task_of(common: Common) -> Task:
    """Of a config."""
    return MULTI_LABEL if common.multi_label else SINGLE_LABEL


def task_for(labels: Any) -> Task:
    """Of labels (N,) or multi-hot (N, K)."""
    return MULTI_LABEL if np.ndim(labels) == 2 else SINGLE_LABEL
