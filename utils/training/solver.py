"""Finds the best linear head of a frozen network in a single step, where `optimizer: LBFGS` asks for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from utils.config.schema import Common
from utils.processes.launch import Rank
from utils.training.batch import Batch, Sums
from utils.training.linear_head import best_head
from utils.training.precision import Precision
from utils.training.state import Step
from utils.training.teacher import Teacher
from utils.training.trainer import Trainer, TrainingList, with_counts

PARTS = 3  # of the training videos, each held out once to choose the weight decay


def make_trainer(
    method: Any, common: Common, data: TrainingList, *, rank: Rank, precision: Precision, teacher: Teacher | None
) -> Trainer:
    """Returns what trains a method as the config's optimizer asks: step by step, or in one."""
    kind = Solver if common.solves else Trainer
    return kind(method, common, data, rank=rank, precision=precision, teacher=teacher)


class Solver(Trainer):
    """Trains in one step: it reads what the classifier sees of every training video, and solves for the classifier.

    The classifier is `model.head`, the only part that learns; a probe's `model.sweep` may have several weight decays,
    and `data.held_out` says which videos are held out together to choose one.
    """

    model: Any
    data: Any

    @override
    def steps(self, batches: Iterable[Batch], *, until: Callable[[], bool]) -> Iterator[Step]:
        """Yields the only step, or nothing if `until` asks for an end while it reads."""
        with contextlib.suppress(_StoppedError):
            yield from super().steps(_stopping(batches, until), until=until)

    @override
    def _update(self, step: Step, loader: Iterator[tuple[Batch, Batch]]) -> None:
        decays = sorted(getattr(self.model, "sweep", None) or [self.common.weight_decay], reverse=True)
        if len(decays) > 1:  # a wrong group_regex ends the run now, and not when all videos are read
            self.data.held_out(range(len(self.data)), PARTS)
        began = time.perf_counter()
        inputs, labels = self._read(step, loader)
        step.waited = time.perf_counter() - began
        given: dict[str, Any] = {"criterion": self.criterion.cpu(), "num_class": self.common.model.num_class}
        parts = self.data.held_out(sorted(step.indices), PARTS) if len(decays) > 1 else None
        found = best_head(inputs, labels, decays, parts, **given)
        if len(decays) > 1:
            why = f"the best of {len(decays)} for training videos that were held out"
            step.notes.append(
                f"weight decay {found.decay:g}: {why if parts is not None else 'there are too few videos to choose by'}"
            )
        self.model.head.load_state_dict({"weight": found.weight, "bias": found.bias})
        logits = found.logits(inputs)
        hits = self.task.hits(logits, labels).sum(1)
        loss = self.criterion(logits, labels).sum()
        step.numbers = torch.stack([loss, *hits, torch.tensor(float(len(inputs)))])
        step.sums = Sums(with_counts(step))

    @torch.no_grad()
    def _read(self, step: Step, loader: Iterator[tuple[Batch, Batch]]) -> tuple[Tensor, Tensor]:
        """Returns what the head sees of all videos, float32 (N, D), and their labels, in the order of the list."""
        self.model.eval()
        seen: list[Tensor] = []
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        handle = self.model.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            for loaded, batch in loader:
                good = torch.tensor([not fault for fault in batch.faults])
                step.faults += filter(None, batch.faults)
                self._refuse_beyond_budget(step.number, self.state.bad_videos + len(step.faults), step.faults)
                with self.precision.autocast():
                    self.model(self.data.protocol.augment.apply(batch.clips, batch.augment))
                # frames of a clip, or positions, whose logits are averaged: so may be what the classifier sees of them
                of_video = seen.pop().float().cpu()
                of_video = of_video.reshape(len(good), -1, of_video.shape[-1]).mean(1)
                parts.append((loaded.indices[good], of_video[good], loaded.labels[good]))
        finally:
            handle.remove()
        indices, inputs, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        order = indices.argsort()
        step.indices = indices[order].tolist()
        return inputs[order], labels[order]


class _StoppedError(Exception):
    """Says that the videos were not read to the end."""


def _stopping(batches: Iterable[Batch], until: Callable[[], bool]) -> Iterator[Batch]:
    """Yields batches until somebody asks for an end. Raises: _StoppedError then."""
    for batch in batches:
        if until():
            raise _StoppedError
        yield batch


def solvable(method: nn.Module, head_prefix: str) -> bool:
    """Returns whether nothing but a linear classifier learns, of which then one is the best."""
    return isinstance(method.head, nn.Linear) and all(
        name.startswith(head_prefix) for name, parameter in method.named_parameters() if parameter.requires_grad
    )
