"""Trains a model step by step, from random weights or from where a checkpoint stopped.

The loop that uses it is in main.py: a step, then the log, a validation, a checkpoint, whatever is due. The trainer
knows no dataset, no network and no file.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from utils.clip_spec import CLIP_DIMS
from utils.config.schema import Common
from utils.errors import FrameError, UserError
from utils.processes import session
from utils.processes.data_parallel import Replica
from utils.processes.launch import Rank
from utils.processes.sharded import Sharded, gathered, load_whole, whole
from utils.processes.threads import keep_apart
from utils.scoring.task import task_of
from utils.training.batch import Batch, Sums, on_device
from utils.training.blocks import blocks_of
from utils.training.ema import WEIGHTS, Ema
from utils.training.meters import WindowMeter
from utils.training.mixup import MixUp
from utils.training.optimizer import optimizer_for, restore_state
from utils.training.precision import Precision
from utils.training.schedule import schedule
from utils.training.state import Step, TrainState
from utils.training.teacher import Teacher


class TrainingList(Protocol):
    """The list of videos that is trained on; `datasets.split.Split` is one."""

    @property
    def labels(self) -> Any:
        """The truth of all videos."""
        ...

    @property
    def protocol(self) -> Any:
        """Its `augment` normalises a batch on the device."""
        ...

    def __len__(self) -> int: ...

    def path(self, index: int) -> str:
        """Returns the path of a video, for messages."""
        ...

    def clips(self, rank: Rank, *, start: int, count: int) -> Iterable[Tensor]:
        """Returns the normalised clips of `count` batches from a step on, on the device."""
        ...


class Trainer:
    """Trains `model` by a config and holds everything that a checkpoint has to keep.

    Attributes:
        model: the network that is trained.
        rates: learning rates of all steps, float64 (total steps,).
        state: how far the run is.
    """

    def __init__(
        self,
        model: nn.Module,
        common: Common,
        data: TrainingList,
        *,
        rank: Rank,
        precision: Precision,
        teacher: Teacher | None = None,
    ):
        steps_per_epoch = len(data) / common.effective_batch(rank.world_size)
        # what it was given
        self.model, self.common, self.data, self.rank, self.precision = model, common, data, rank, precision
        self.teacher = teacher
        # the parts of a step
        self.task = task_of(common)
        self._replica = _connected(model, common, rank)  # before all that holds parameters
        self.optimizer = optimizer_for(model, common)
        self.rates = schedule(common.lr_scheduler, steps_per_epoch, scale=common.lr_scale(rank.world_size))
        self.criterion = self.task.criterion(common, data.labels).to(rank.device)
        self.mix_up = MixUp(common.augmentation.mix_up, common.augmentation.cut_mix) or None
        plain = self._replica.plain if self._replica else model
        self._ema = Ema(plain, common.ema) if common.ema else None
        self._scored = self._ema.average if self._ema else plain
        # when something is due
        self.val_freq = common.validate_every(steps_per_epoch)
        self.checkpoint_every = save_every(common, steps_per_epoch)
        # how far it is
        names = ("time", "data", "loss", *self.task.train_numbers)
        self.state = TrainState(meters={name: WindowMeter(common.print_freq) for name in names})
        self._is_stopping = False  # whether a process has asked for it in a step that is settled
        self._shown: int | None = None  # the step whose batch was kept last
        # a compiler starts processes while it computes, and they would inherit the core
        self._places = keep_apart() if rank.device.type == "cpu" and not common.compile else None

    @property
    def total(self) -> int:
        """Number of steps of the whole run."""
        return len(self.rates)

    @property
    def is_done(self) -> bool:
        """True when all steps are done, or when `patience` ends the run before."""
        return self.state.step >= self.total or self.is_out_of_patience

    @property
    def is_out_of_patience(self) -> bool:
        """True when as many validations in a row as `patience` says were not better than the best one."""
        return self.common.patience is not None and self.state.since_best >= self.common.patience

    def steps(self, batches: Iterable[Batch], *, until: Callable[[], bool]) -> Iterator[Step]:
        """Trains, and yields after every step, until all steps are done or `until` asks any process to stop.

        batches: `accumulate` for each remaining step, in order; their gradients add up to one update.

        Raises: FrameError when more videos are unreadable than bad_frame_budget allows; UserError when the loss is not
        finite.
        """
        before: Step | None = None  # the previous step, whose numbers are still on the device
        counted = time.perf_counter()  # until then all seconds are counted
        if self.common.compile:  # in place, so that names of weights stay as they are
            self.model.compile()
        self.model.train()
        loader = on_device(batches, self.rank.device)
        while not self.is_done:
            began = time.perf_counter()
            step = Step(self.state.step, float(self.rates[self.state.step]), asks_to_stop=until())
            self._update(step, loader)
            self.state.step = done = step.number + 1
            if before is not None:  # fetched now, while the device works on this step
                self._settle(before, step)
            # several processes decide together: by the sums of the steps that are settled
            stopped = until() if self.rank.world_size == 1 else self._is_stopping
            step.validates = not stopped and self._validation_due(step.number)
            if step.validates:
                self.state.last_validation = done
            step.prints = step.number % self.common.print_freq == 0 or done == self.total
            step.saves = step.validates or stopped or done == self.total or done % self.checkpoint_every == 0
            step.stops = stopped or done == self.total
            step.seconds = time.perf_counter() - began
            self.state.seconds += began + step.seconds - counted
            counted = began + step.seconds
            before = step
            if step.prints or step.saves:
                self._settle(step, step)
                before = None
            yield step
            if step.stops:
                return
            if step.validates:
                self.model.train()  # a validation has put it into evaluation mode

    def _update(self, step: Step, loader: Iterator[tuple[Batch, Batch]]) -> None:
        """Computes the gradients of a step's batches and moves the weights."""
        # every random draw of this process, dropout included, follows from (seed, step, rank): nothing to save
        torch.manual_seed(_step_seed(self.common.seed, step.number, self.rank.number))
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr * group["lr_mult"]
        self.optimizer.zero_grad(set_to_none=True)
        budget = self.common.bad_loss_budget
        buffers = [buffer.clone() for buffer in self.model.buffers()] if budget else []
        for part in range(self.common.accumulate):
            began = time.perf_counter()
            loaded, batch = next(loader)
            step.waited += time.perf_counter() - began
            step.indices += loaded.indices.tolist()
            step.faults += filter(None, batch.faults)
            self._refuse_beyond_budget(step.number, self.state.bad_videos + len(step.faults), step.faults)
            rng = np.random.default_rng([self.common.seed, step.number, self.rank.number, part])
            is_last = part == self.common.accumulate - 1
            with contextlib.ExitStack() as computing:
                if self._places is not None:  # the main thread stays off the cores of torch's other threads
                    os.sched_setaffinity(0, self._places.own)
                    computing.callback(os.sched_setaffinity, 0, self._places.allowed)
                loss = self._loss(step, batch, rng, is_last=is_last)
                if is_last:  # before the backward pass, during which they travel
                    numbers = with_counts(step)
                    step.sums = Sums(numbers, *(session.add_up(numbers) if self._replica else ()))
                self.precision.backward(loss / self.common.accumulate)
        # only a budget looks at the loss before the update: looking makes the host wait for the device
        if budget and step.sums is not None and not math.isfinite(step.sums.values()[0]):
            self._skip(step, buffers)
            return
        self.precision.update(self.optimizer, self.model, clip_gradient=self.common.clip_gradient)
        if self._ema:
            self._ema.update(self.model)

    def _loss(self, step: Step, batch: Batch, rng: np.random.Generator, *, is_last: bool) -> Tensor:
        """Returns the mean loss of a batch that is on the device.

        rng: draws what is mixed. is_last: whether it is the last one of its step, which averages the gradients.
        """
        good = torch.tensor([float(not fault) for fault in batch.faults])
        clips = self.data.protocol.augment.apply(batch.clips, batch.augment)
        pictures = clips.dim() == CLIP_DIMS and self._pictures_due(step.number)
        # an unreadable clip must not be blended into another one, so such a batch is not mixed
        mix = None
        if self.mix_up is not None and not any(batch.faults):
            mix = self.mix_up.draw(rng, len(batch), *clips.shape[-2:])
        clips = clips if mix is None else mix.clips(clips)
        if pictures:
            self._shown = step.number
            step.clips, step.batch, step.mix = clips, batch, mix
        with self.precision.autocast():
            said = self.teacher.scores(clips, batch.indices, mix) if self.teacher else None
            logits = self._replica(clips, averages=is_last) if self._replica else self.model(clips)
        weight = good.to(logits.device, non_blocking=True)  # waiting would let the device run out of work
        count = weight.sum()
        criterion, labels = self.criterion, batch.labels
        losses = criterion(logits, labels) if mix is None else mix.loss(criterion, logits, labels)
        if self.teacher and said is not None:
            losses = losses + self.teacher.loss(logits, said)
        hits = self.task.hits(logits.detach(), labels)
        if mix is not None:
            hits = mix.average(hits, self.task.hits(logits.detach(), mix.partners(labels)))
        loss = (losses * weight).sum()
        numbers = torch.cat([loss.detach()[None], (hits * weight).sum(1), count[None]])
        step.numbers = numbers if step.numbers is None else step.numbers + numbers
        return loss / count.clamp(min=1)

    def _pictures_due(self, number: int) -> bool:
        """Returns whether the first rank shows the batch of a step: after a start, and as often as validations."""
        due = self._shown is None or (number % self.val_freq == 0 and number != self._shown)
        return due and self.common.watch.clips > 0 and self.rank.is_first

    def _validation_due(self, number: int) -> bool:
        """Returns whether a validation is due after step `number`.

        It is due after step i > 0 when val_freq divides i, and at the end, if it has not run for val_freq steps, or if
        the whole run has no such step: then it has only run at the end of a shorter run, which this one goes on from.
        """
        if number > 0 and number % self.val_freq == 0:
            return True
        done, last = number + 1, self.state.last_validation
        rare = number < self.val_freq
        return done == len(self.rates) and (rare or last == 0 or done - last >= self.val_freq - 1)

    def _refuse_beyond_budget(self, number: int, bad: int, faults: list[str]) -> None:
        budget = self.common.bad_frame_budget
        if bad > budget:
            raise FrameError(
                f"step {number}: {bad} unreadable video(s), bad_frame_budget is {budget}: {'; '.join(faults)}"
            )

    def _skip(self, step: Step, buffers: list[Tensor]) -> None:
        """Leaves a step out: the weights stay, and batch norm's statistics become `buffers` again.

        Raises: UserError when more steps than bad_loss_budget were left out.
        """
        texts = self._bad_losses(step)
        self.state.bad_losses += 1
        if self.state.bad_losses > self.common.bad_loss_budget:
            raise UserError(
                f"{'; '.join(texts)}. That is {self.state.bad_losses} step(s), "
                f"bad_loss_budget is {self.common.bad_loss_budget}"
            )
        step.left_out += texts
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        step.skipped = True

    def _settle(self, step: Step, now: Step) -> None:
        """Fetches a step's sums over all processes and updates the meters. `now` reports its faults.

        Raises: UserError on all processes if the loss of one is not finite; FrameError if faults exceed their budget.
        """
        if step.sums is None:
            return
        loss, *hits, count, faults, stops = step.sums.values()
        if not step.skipped and not math.isfinite(loss):
            raise UserError(
                f"{'; '.join(self._bad_losses(step))}. The last checkpoint is from before this step; lower the "
                "learning rate, set amp: off, or let bad_loss_budget skip such steps"
            )
        step.sums = None
        self._is_stopping = self._is_stopping or stops > 0
        if faults:
            texts = _of_all_ranks(step.faults)
            now.left_out += texts
            self.state.bad_videos += round(faults)
            self._refuse_beyond_budget(step.number, self.state.bad_videos, texts)
        meters = self.state.meters
        if not step.skipped:
            meters["loss"].update(loss / max(count, 1), count)
            for name, number in zip(self.task.train_numbers, hits, strict=True):
                meters[name].update(100.0 * number / max(count, 1), count)
        meters["data"].update(step.waited)
        meters["time"].update(step.seconds)

    def _bad_losses(self, step: Step) -> list[str]:
        """Returns a text for each process whose loss is not finite. All processes must call it."""
        assert step.sums is not None
        loss = step.sums.own()[0]
        paths = ", ".join(map(self.data.path, step.indices))
        text = f"step {step.number}: the loss is {loss}; videos of the batch: {paths}"
        return _of_all_ranks([] if math.isfinite(loss) else [text])

    @contextlib.contextmanager
    def validated(self) -> Iterator[nn.Module]:
        """Lends the network that is validated and saved as `state_dict`: the average with `ema`, else the model.

        It is whole in every process. `precise_bn` computes its batch norm statistics anew.
        """
        with whole(self._scored) as network:
            if count := self.common.precise_bn:
                update_bn(self.data.clips(self.rank, start=self.state.step, count=count), network)
            yield network

    def state_dict(self) -> dict[str, Any]:
        """Returns the entries of a checkpoint on the first process: those of the original project, and ours.

        All processes must call it; the others get none.
        """
        entries = {
            "step": self.state.step,
            "best_prec1": self.state.best_prec1,
            "state_dict": self._scored.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "trainer": self.state.state_dict(),
        }
        entries = gathered(entries | (self._ema.checkpoint_entries(self.model) if self._ema else {}))
        return entries if self.rank.is_first else {}

    def resume(self, saved: Mapping[str, Any]) -> list[str]:
        """Restores everything in a checkpoint except `state_dict`, which the model has loaded already.

        What the config sets stays as the config has it. Checkpoints of the original project lack our entries.

        Returns what could not be taken over, for the log.
        """
        if self._ema:
            self._ema.restore(self.model, saved)
        elif WEIGHTS in saved:  # trained with an average, which `state_dict` is; from here on without one
            load_whole(self.model, saved[WEIGHTS])
        self.precision.load_state_dict(saved.get("scaler", {}))
        self.state.load_state_dict(saved.get("trainer", {"step": saved["step"], "best_prec1": saved["best_prec1"]}))
        return restore_state(self.optimizer, saved.get("optimizer"))


def save_every(common: Common, steps_per_epoch: float) -> int:
    """Returns the steps between two checkpoints."""
    return common.ckpt_freq or min(common.validate_every(steps_per_epoch), 500)


def _connected(model: nn.Module, common: Common, rank: Rank) -> Replica | Sharded | None:
    """Returns the model wrapped so that several processes train it together; None for a single process."""
    if rank.world_size == 1:
        return None
    return Sharded(model, blocks_of(model).values()) if common.fsdp else Replica(model)


def with_counts(step: Step) -> Tensor:
    """Returns the numbers of a step with those that the host knows: unreadable videos, and the wish to stop."""
    assert step.numbers is not None
    counts = torch.tensor([float(len(step.faults)), float(step.asks_to_stop)])
    return torch.cat([step.numbers, counts.to(step.numbers.device, non_blocking=True)])


def _of_all_ranks(texts: list[str]) -> list[str]:
    """Returns the texts of all processes, in the order of ranks: only the first process writes a log."""
    return [text for part in session.gather_objects(texts) for text in part]


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
