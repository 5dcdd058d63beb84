"""The lines and records a run writes about itself: their words, their numbers, and the protocol behind a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from utils.engine import Scores
from utils.metrics import mean_class_accuracy, topk_accuracy
from utils.run_folder import RunFolder


def train_line(step: int, total: int, values: dict[str, float]) -> str:
    """Upstream's line: the newest value of each meter and, in brackets, its mean over the last print_freq steps."""
    fields = [
        f"Iter: [{step}/{total}]",
        *(f"{name} {values[f'{key}_last']:.{digits}f} ({values[key]:.{digits}f})" for name, key, digits in FIELDS),
        f"LR {values['lr']:.6f}",
    ]
    return "\t".join(fields)


FIELDS = [("Time", "time", 3), ("Data", "data", 3), ("Loss", "loss", 4), ("Prec@1", "acc1", 3), ("Prec@5", "acc5", 3)]


def train_record(step: int, values: dict[str, float]) -> dict[str, Any]:
    """A line of metrics.jsonl; means over the last print_freq steps."""
    return {"kind": "train", "step": step} | {
        name: values[name] for name in ("loss", "acc1", "acc5", "lr", "time", "data")
    }


def record_training(
    folder: RunFolder, step: int, total: int, values: dict[str, float], store: dict[str, int] | None = None
) -> None:
    """One line of log.txt, the scalars of events/, one record of metrics.jsonl.

    store: counts of the frame store, hits and misses of a cache for example; they get a line and scalars of their own.
    """
    folder.log(train_line(step, total, values))
    tags = {"loss_train": "loss", "acc1_train": "acc1", "acc5_train": "acc5", "lr": "lr"}
    folder.scalars(step, {tag: values[name] for tag, name in tags.items()})
    if store:
        folder.log("store: " + ", ".join(f"{name} {count}" for name, count in store.items()))
        folder.scalars(step, {f"store/{name}": count for name, count in store.items()})
    folder.metrics(train_record(step, values))


def record_validation(folder: RunFolder, step: int, result: Result) -> None:
    """The same for a validation."""
    folder.log(f"step {step} {result.line()}")
    folder.scalars(step, {"loss_val": result.loss, "acc1_val": result.top1, "acc5_val": result.top5})
    folder.metrics(result.record(step))


@dataclass(frozen=True)
class Result:
    """The numbers of one evaluation, percentages in 0..100; nan where no video has a label."""

    top1: float
    top5: float
    mean_class: float
    loss: float
    protocol: str

    @classmethod
    def of(cls, scores: Scores, protocol: str) -> Result:
        """Counts the scores."""
        return cls(
            top1=topk_accuracy(scores.scores, scores.labels),
            top5=topk_accuracy(scores.scores, scores.labels, k=5),
            mean_class=mean_class_accuracy(scores.scores, scores.labels),
            loss=scores.loss,
            protocol=protocol,
        )

    def line(self) -> str:
        """One line for the log; the same for validation and evaluation."""
        if math.isnan(self.loss):
            return f"predictions only, no video has a label ({self.protocol})"
        return (
            f"validation: Prec@1 {self.top1:.3f} Prec@5 {self.top5:.3f} mean class {self.mean_class:.3f} "
            f"Loss {self.loss:.4f} ({self.protocol})"
        )

    def record(self, step: int) -> dict[str, Any]:
        """A line of metrics.jsonl."""
        return {
            "kind": "val",
            "step": step,
            "loss": self.loss,
            "acc1": self.top1,
            "acc5": self.top5,
            "mean_class": self.mean_class,
            "protocol": self.protocol,
        }
