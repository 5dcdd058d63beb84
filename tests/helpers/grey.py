"""Holds flat grey clips and a network that sees their brightness: what a step computes can be computed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from utils.config.schema import Common
from utils.processes.launch import Rank, detect
from utils.scoring.task import SINGLE_LABEL
from utils.training.batch import Batch

CPU = torch.device("cpu")
ALONE = detect("cpu", environ={})


class Normalise:
    def apply(self, clips: Tensor, params: dict[str, Tensor] | None) -> Tensor:
        return clips.flatten(0, 1).float() / 255


class Mean(nn.Module):
    """Two classes from a clip's mean value."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(clips.mean(dim=(1, 2, 3, 4))[:, None])


def batch(*values: int, labels: list[int], faults: list[str] | None = None, views: int = 1, first: int = 0) -> Batch:
    """One flat grey clip per value; `views` of them in a row belong to one video."""
    clips = torch.tensor(values, dtype=torch.uint8).reshape(-1, views, 1, 1, 1, 1).expand(-1, -1, 3, 2, 4, 4)
    indices = torch.arange(first, first + len(labels))
    return Batch(clips, torch.tensor(labels), indices, {}, faults or [""] * len(labels))


class Averaged:
    """A protocol: softmax, averaged over the views of a video as asked."""

    def __init__(self, average: str = "scores") -> None:
        self.average, self.task, self.augment, self.batch_size = average, SINGLE_LABEL, Normalise(), 1

    def average_views(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1).mean(-2) if self.average == "scores" else logits.mean(-2).softmax(-1)

    def __str__(self) -> str:
        return f"{self.average} averaged"


class GreyList:
    """A list of `count` grey videos, as trainer and evaluation see a `datasets.split.Split`."""

    def __init__(self, common: Common, count: int, average: str = "scores") -> None:
        self.common, self.count, self.protocol = common, count, Averaged(average)
        self.labels = torch.zeros(count, dtype=torch.int64).numpy()
        self.class_names: list[str] | None = None

    def __len__(self) -> int:
        return self.count

    def path(self, index: int) -> str:
        return str(index)

    def eval_batches(self, rank: Rank) -> Iterable[Batch]:
        return []

    def clips(self, rank: Rank, *, start: int, count: int) -> Iterator[Tensor]:
        return iter([])


def config(**keys: Any) -> Common:
    """A config whose learning rate is 0.1 in every step; keyword arguments change top-level keys."""
    steps = keys.pop("steps", 9)
    defaults = {
        "model": {"type": "tsn", "backbone": "resnet18", "num_class": 2},
        "lr_scheduler": {"type": "STEP", "base_lr": 0.1, "lr_steps": [10**6], "max_iter": steps},
        "momentum": 0.0, "weight_decay": 0.0, "batch_size": 1, "amp": "off", "watch": {"clips": 0},
    }  # fmt: skip
    return Common.model_validate(defaults | keys)
