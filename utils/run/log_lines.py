"""The lines and records a run writes about itself: their words, their numbers, and the protocol behind a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.run.folder import RunFolder
from utils.scoring.result_files import Evaluation
from utils.scoring.task import SINGLE_LABEL, Task, task_for


def train_line(step: int, total: int, values: dict[str, float], task: Task = SINGLE_LABEL) -> str:
    """Upstream's line: the newest value of each meter and, in brackets, its mean over the last print_freq steps."""
    counted = [(name, key, 3) for key, name in task.train_numbers.items()]
    fields = [
        f"Iter: [{step}/{total}]",
        *(
            f"{name} {values[f'{key}_last']:.{digits}f} ({values[key]:.{digits}f})"
            for name, key, digits in (*FIELDS, *counted)
        ),
        f"LR {values['lr']:.6f}",
    ]
    return "\t".join(fields)


FIELDS = [("Time", "time", 3), ("Data", "data", 3), ("Loss", "loss", 4)]


def train_record(step: int, values: dict[str, float], task: Task = SINGLE_LABEL) -> dict[str, Any]:
    """A line of metrics.jsonl; means over the last print_freq steps."""
    return {"kind": "train", "step": step} | {
        name: values[name] for name in ("loss", *task.train_numbers, "lr", "time", "data")
    }


def record_training(
    folder: RunFolder,
    step: int,
    total: int,
    values: dict[str, float],
    store: dict[str, int] | None = None,
    task: Task = SINGLE_LABEL,
) -> None:
    """One line of log.txt, the scalars of events/, one record of metrics.jsonl.

    store: frames of a cache by where they came from (hits, misses, ...) since the start, over the workers of this
    process; they and the share of hits get a line and scalars of their own.
    """
    folder.log(train_line(step, total, values, task))
    names = ("loss", *task.train_numbers)
    folder.scalars(step, {f"{name}_train": values[name] for name in names} | {"lr": values["lr"]})
    if store:
        rate = store.get("hits", 0) / max(1, sum(store.values()))
        folder.log(f"store: hit rate {rate:.1%}, " + ", ".join(f"{name} {count}" for name, count in store.items()))
        folder.scalars(step, {"store/hit_rate": rate} | {f"store/{name}": count for name, count in store.items()})
    folder.metrics(train_record(step, values, task))


def record_validation(folder: RunFolder, step: int, result: Result) -> None:
    """The same for a validation."""
    folder.log(f"step {step} {result.line()}")
    charted = {f"{name}_val": result.numbers[name] for name in result.task.charted}
    folder.scalars(step, {"loss_val": result.loss} | charted)
    folder.metrics(result.record(step))


@dataclass(frozen=True)
class Result:
    """The numbers of one evaluation, percentages in 0..100 by their names in metrics.jsonl; nan without any truth.

    view_numbers: of single views, as torchvision's reference prints them ("Clip Acc") beside those of videos; empty
    where a video has one.
    """

    task: Task
    numbers: dict[str, float]
    loss: float
    protocol: str
    view_numbers: Mapping[str, float]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Result:
        """Counts its scores."""
        scores, labels = evaluation.scores, evaluation.labels
        task = task_for(labels)
        measured, loss = task.measure(scores, labels), task.loss(scores, labels)
        return cls(task, measured, loss, evaluation.protocol, evaluation.view_numbers)

    @property
    def best_by(self) -> float:
        """The number that chooses the best checkpoint."""
        return next(iter(self.numbers.values()))

    def line(self) -> str:
        """One line for the log; the same for validation and evaluation."""
        if math.isnan(self.loss):
            return f"predictions only, no video has a label ({self.protocol})"
        numbers = _titled(self.numbers, self.task.val_numbers)
        alone = "".join(f"{text} " for text in _titled(self.view_numbers, self.task.view_numbers))
        return f"validation: {' '.join(numbers)} Loss {self.loss:.4f} {alone}({self.protocol})"

    def record(self, step: int) -> dict[str, Any]:
        """A line of metrics.jsonl."""
        numbers = self.numbers | dict(self.view_numbers)
        return {"kind": "val", "step": step, "loss": self.loss} | numbers | {"protocol": self.protocol}


def _titled(numbers: Mapping[str, float], titles: Mapping[str, str]) -> list[str]:
    return [f"{titles[name]} {number:.3f}" for name, number in numbers.items()]
