"""One step of training: its batches, its loss, and the numbers that are settled while the device works on the next."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utils.errors import UserError
from utils.processes import session
from utils.scoring.task import Task
from utils.training.batch import Batch
from utils.training.mixup import MixUp
from utils.training.precision import Precision
from utils.training.state import Listeners, TrainPlan, TrainState


class Pipeline(Protocol):
    """What happens to a batch on the device: colour, erasing, normalising."""

    def apply(self, clips: Tensor, params: dict[str, Tensor] | None) -> Tensor:
        """(N, V, C, T, H, W) as loaded -> float (N * V, C, T, H, W)."""
        ...


@dataclass
class Step:
    """One step's numbers, left on the device until somebody needs them, so that the device never waits for the host."""

    step: int
    task: Task
    indices: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # videos that could not be read
    waited: float = 0.0
    seconds: float = 0.0
    numbers: Tensor | None = None  # float32 (4,): sum of the losses, hits of the best class, of the five best, clips

    def fetch(self, loader: Iterator[tuple[Batch, Batch]]) -> Batch:
        """The next batch of `utils.training.batch.on_device`; the time it took is time the device may have waited."""
        began = time.perf_counter()
        loaded, batch = next(loader)
        self.waited += time.perf_counter() - began
        self.indices += loaded.indices.tolist()
        self.faults += filter(None, batch.faults)
        return batch

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        criterion: nn.Module,
        augment: Pipeline,
        mix_up: MixUp,
        precision: Precision,
        rng: np.random.Generator,
        listeners: Listeners,
    ) -> Tensor:
        """The mean loss of a batch that is on the device; rng draws what is mixed."""
        clips = augment.apply(batch.clips, batch.augment)
        # an unreadable clip must not be blended into another, so such a batch is not mixed
        mix = None if any(batch.faults) else mix_up.draw(rng, len(batch), *clips.shape[-2:])
        clips = clips if mix is None else mix.clips(clips)
        listeners.seen(clips, batch, mix)
        with precision.autocast():
            logits = model(clips)
        good = torch.tensor([float(not fault) for fault in batch.faults])
        weight = good.to(logits.device, non_blocking=True)  # waiting would let the device run out of work
        count = weight.sum()
        per_clip = criterion(logits, batch.labels) if mix is None else mix.loss(criterion, logits, batch.labels)
        loss = (per_clip * weight).sum()
        hits = self.task.hits(logits.detach(), batch.labels)
        if mix is not None:
            hits = mix.average(hits, self.task.hits(logits.detach(), mix.partners(batch.labels)))
        numbers = torch.cat([loss.detach()[None], (hits * weight).sum(1), count[None]])
        self.numbers = numbers if self.numbers is None else self.numbers + numbers
        return loss / count.clamp(min=1)

    def is_finite(self) -> bool:
        """Whether the loss is a number; waits for the device."""
        return self.numbers is not None and math.isfinite(float(self.numbers[0]))

    def describe(self, loss: float, path: Callable[[int], str]) -> str:
        """A loss and whose it is."""
        return f"step {self.step}: the loss is {loss}; videos of the batch: {', '.join(map(path, self.indices))}"

    def settle(self, state: TrainState, listeners: Listeners) -> None:
        """Fetches the numbers, joins those of all processes, hands them to the meters, and tells what was left out."""
        if self.numbers is None:
            return
        loss, *hits, count = self.numbers.tolist()
        self.numbers = None
        if not math.isfinite(loss):
            raise UserError(
                f"{self.describe(loss, listeners.path)}. The last checkpoint is from before this step; lower the "
                "learning rate, set amp: off, or let bad_loss_budget skip such steps"
            )
        loss, *hits, count, faults = session.sum_over_ranks([loss, *hits, count, len(self.faults)])
        if faults:
            _tell(self.faults, listeners)
        state.bad_videos += round(faults)
        state.meters["loss"].update(loss / max(count, 1), count)
        for name, number in zip(self.task.train_numbers, hits, strict=True):
            state.meters[name].update(100.0 * number / max(count, 1), count)
        state.meters["data"].update(self.waited)
        state.meters["time"].update(self.seconds)

    def skip(
        self, model: nn.Module, buffers: Sequence[Tensor], state: TrainState, plan: TrainPlan, listeners: Listeners
    ) -> None:
        """Leaves the step out: the weights stay, and batch norm's statistics are `buffers` again.

        Raises: UserError when more steps than bad_loss_budget were left out.
        """
        assert self.numbers is not None
        loss = float(self.numbers[0])
        mine = [] if math.isfinite(loss) else [self.describe(loss, listeners.path)]
        state.bad_losses += 1
        if state.bad_losses > plan.bad_loss_budget:
            texts = [text for part in session.gather_objects(mine) for text in part]
            raise UserError(
                f"{'; '.join(texts)}. That is {state.bad_losses} step(s), bad_loss_budget is {plan.bad_loss_budget}"
            )
        _tell(mine, listeners)
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        self.numbers = torch.zeros_like(self.numbers)  # no clip: the meters leave it out


def _tell(texts: list[str], listeners: Listeners) -> None:
    """What every process has left out, in the order of ranks: only the first one writes a log."""
    for part in session.gather_objects(texts):
        for text in part:
            listeners.fault(text)
