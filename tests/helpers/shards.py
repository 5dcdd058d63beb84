"""Trains a tiny network of blocks in one process, and in several that share it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tests.helpers.grey import ALONE, CPU, GreyList, config
from utils.processes import session
from utils.training.batch import Batch
from utils.training.precision import Precision
from utils.training.trainer import Trainer

VIDEOS = 8  # of a step
STEPS = 3


class Block(nn.Module):
    """Has numbers of channels that no number of processes divides."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(width, width + 1), nn.Linear(width + 1, width)
        self.norm = nn.BatchNorm1d(width + 1) if norm else nn.LayerNorm(width + 1)

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.narrow(self.norm(self.wide(rows)).relu())


class Blocks(nn.Module):
    """Two classes from the pixels of a clip; some parameters are smaller than a group of four processes."""

    def __init__(self, *, width: int = 6, norm: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(96, width)
        self.blocks = nn.ModuleList(Block(width, norm) for _ in range(3))
        self.head = nn.Linear(width, 2)

    def forward(self, clips: Tensor) -> Tensor:
        rows = self.stem(clips.flatten(1))
        for block in self.blocks:
            rows = block(rows)
        return self.head(rows)


def made(**arguments: Any) -> Blocks:
    torch.manual_seed(0)
    return Blocks(**arguments)


def videos(step: int, part: int, parts: int) -> Batch:
    """An equal part of the videos of a step."""
    generator = torch.Generator().manual_seed(step)
    clips = torch.randint(256, (VIDEOS, 1, 3, 2, 4, 4), dtype=torch.uint8, generator=generator)
    mine = torch.arange(VIDEOS).chunk(parts)[part]
    return Batch(clips[mine], mine % 2, mine, {}, [""] * len(mine))


def place() -> Any:
    """This process among those that are connected."""
    return replace(ALONE, number=session.rank(), world_size=session.world_size())


def trainer(model: nn.Module, *, saved: Mapping[str, Any] | None = None, **keys: Any) -> Trainer:
    """A trainer of this process; saved: the checkpoint that it goes on from, read as main.py does."""
    common = config(**{"print_freq": 1, "steps": STEPS, "momentum": 0.9, "weight_decay": 0.01} | keys)
    if saved is not None:
        model.load_state_dict(saved["state_dict"])
    found = Trainer(model, common, GreyList(common, 9), rank=place(), precision=Precision(common.amp, CPU))
    if saved is not None:
        assert found.resume(saved) == []
    return found


def train(found: Trainer, *, until: int = STEPS) -> list[float]:
    """Trains until some steps are done; the loss of each."""
    parts, accumulate = session.world_size(), found.common.accumulate
    batches = [
        videos(step, session.rank() * accumulate + part, parts * accumulate)
        for step in range(found.state.step, until)
        for part in range(accumulate)
    ]
    numbers = range(found.state.step, until)
    steps = found.steps(batches, until=lambda: False)
    return [found.state.meters["loss"].last for _, _ in zip(numbers, steps, strict=False)]


def plain(values: Any) -> Any:
    """Turns the tensors of dictionaries and lists into numpy's arrays, which processes can send."""
    return tree_map(lambda value: value.numpy().copy() if isinstance(value, Tensor) else value, values)


def tensors(values: Any) -> Any:
    return tree_map(lambda value: torch.from_numpy(value) if isinstance(value, np.ndarray) else value, values)
